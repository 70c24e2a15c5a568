"""What RunPod's refusals mean: many are told apart by their wording alone."""

from __future__ import annotations

from tui.clouds.errors import CloudUnreachable, NoCapacity, NoCredit, NoKey, NoSuchPod, Rejected
from tui.errors import FinetuiError

#: Beginnings and parts, lower case, of what both APIs say when a card can't be had.
_CAPACITY = (
    "no longer any instances available",
    "does not have the resources to deploy your pod",
    "not enough free gpus on the host machine",
    "no instances currently available",
)
_TRANSIENT = ("something went wrong",)
_CREDIT = ("balance is too low", "insufficient balance", "insufficient funds", "not enough credit")
_FULL_HOST = "not enough free gpus on the host machine"

BILLING_PAGE = "https://console.runpod.io/user/billing"
KEYS_PAGE = "https://console.runpod.io/user/settings"


def explain(text: str, doing: str) -> FinetuiError:
    """Return the error that ``text`` stands for; ``doing`` completes the words RunPod did not."""
    lower = text.lower()
    if any(part in lower for part in _CREDIT):
        return no_credit(text)
    if _FULL_HOST in lower:
        return NoCapacity(
            "the pod's machine has no free GPU",
            cause=text,
            remedy="a stopped pod's GPUs may be rented to others: try again later, or create another pod",
        )
    if any(part in lower for part in _CAPACITY):
        return NoCapacity(
            f"RunPod did not {doing}: nothing free",
            cause=text,
            remedy="try another card, cloud or data center, or the same again later: finetui pods offers",
        )
    if "pod not found" in lower:
        return NoSuchPod("RunPod knows no such pod", cause=text, remedy="see finetui pods list")
    if any(part in lower for part in _TRANSIENT):
        return CloudUnreachable(
            f"RunPod did not {doing}", cause=text, remedy="try again in a minute; see status.runpod.io"
        )
    return Rejected(f"RunPod did not {doing}", cause=text, remedy="change what it names and try again")


def no_credit(text: str) -> NoCredit:
    """Return the error for an account that is out of money."""
    return NoCredit(
        "the RunPod account has too little credit; nothing was rented",
        cause=text,
        remedy=f"add credit at {BILLING_PAGE}",
    )


def wrong_key(text: str) -> NoKey:
    """Return the error for a key that is not taken."""
    return NoKey(
        "RunPod does not take the API key",
        cause=text,
        remedy=f"make one with the permission to manage pods at {KEYS_PAGE}, and set RUNPOD_API_KEY or the "
        "key file to it",
    )
