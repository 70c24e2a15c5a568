"""The one base class of every error that a user may read."""

from __future__ import annotations


class FinetuiError(Exception):
    """Something went wrong that the user can act on.

    ``message`` says what, ``cause`` why, ``remedy`` what to do; ``exit_code`` is the command line's.
    """

    exit_code = 1

    def __init__(self, message: str, *, cause: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [self.message]
        if self.cause:
            parts.append(f"cause: {self.cause}")
        if self.remedy:
            parts.append(f"fix: {self.remedy}")
        return "\n".join(parts)


class InvalidInput(FinetuiError):
    """Wrong use or invalid input; nothing was changed."""

    exit_code = 2
