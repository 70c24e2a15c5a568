"""How a cloud says no: one type for each thing that the caller does differently."""

from __future__ import annotations

from tui.errors import CostGuardRefused, FinetuiError, InvalidInput, Unreachable


class NoKey(InvalidInput):
    """There is no API key, or the provider does not take it."""


class NoSuchPod(InvalidInput):
    """No pod of the account has this id."""


class NoCredit(CostGuardRefused):
    """The account has no credit for it; no other card will do either."""


class NoCapacity(FinetuiError):
    """This card can't be had there now; another card, cloud or data center may be."""


class Forbidden(FinetuiError):
    """The account may not rent from this pool; another one may do."""


class Rejected(FinetuiError):
    """The provider will not do it, and would not do it a second time."""


class Ambiguous(FinetuiError):
    """A pod may or may not have been made: look it up by its marker, never ask again blindly."""


class CloudUnreachable(Unreachable):
    """The provider does not answer, or not with sense; nothing is known to have been changed."""
