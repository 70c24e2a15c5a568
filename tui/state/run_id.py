"""Run ids: ULIDs made by the client, so that sending a launch twice makes one run."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

from tui.errors import InvalidInput

#: Crockford's base 32, as the ULID specification has it.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RUN_ID = re.compile(f"[0-7][{ALPHABET}]{{25}}")


def new_run_id(
    wall_clock: Callable[[], float] = time.time, random_bits: Callable[[int], int] = secrets.randbits
) -> str:
    """Return a fresh ULID: 48 bits of Unix milliseconds, then 80 random bits; sorts by time of creation."""
    value = int(wall_clock() * 1000) << 80 | random_bits(80)
    digits = []
    for _ in range(26):
        value, digit = divmod(value, 32)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def is_run_id(text: str) -> bool:
    """Tell whether ``text`` is a whole run id; only such a text may become a path."""
    return _RUN_ID.fullmatch(text) is not None


def split_checkpoint(text: str) -> tuple[str, int | str | None]:
    """Split ``RUN``, ``RUN@STEP`` or ``RUN@base`` into run and step; raises InvalidInput."""
    run, at, step = text.partition("@")
    if not at:
        return run, None
    if step == "base":
        return run, "base"
    if step.isascii() and step.isdigit():
        return run, int(step)
    raise InvalidInput(f"{text!r} is not a checkpoint", remedy="write RUN, RUN@STEP (a number) or RUN@base")
