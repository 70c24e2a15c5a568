"""Numbers with their units and text made safe, as every screen writes them."""

from __future__ import annotations

import math
import re

#: What can't be shown: "no value yet" is never written as zero.
NONE = "-"

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits: 0.0421, 12.3, 2.0e-05."""
    if value is None:
        return NONE
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf"
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.{max(0, digits - 3)}e}"
    if abs(value) >= 10**digits:
        return f"{value:,.0f}"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 1
    return f"{value:.{max(0, digits - whole)}f}"


def rate(value: float | None, unit: str = "tok/s") -> str:
    """Return a throughput: ``870 tok/s``, ``2.6k tok/s``."""
    if value is None:
        return NONE
    text = f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}" if value >= 10 else f"{value:.1f}"
    return f"{text} {unit}".rstrip()


def size(value: float | None) -> str:
    """Return bytes in binary units: ``812 B``, ``14.6 MiB``."""
    if value is None:
        return NONE
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def duration(seconds: float | None) -> str:
    """Return a time span in its two largest units: ``8 s``, ``4 min 05 s``, ``3 h 20 min``, ``2 d 4 h``."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def brief(seconds: float | None) -> str:
    """Return a time span in at most five characters, for tables: ``8s``, ``4m05s``, ``3h20``, ``2d4h``."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest:02d}s"
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}"
    return f"{hours // 24}d{hours % 24}h"


def steps(step: int | None, total: int | None) -> str:
    """Return progress as ``120/160``; the total is left out while it isn't known."""
    if step is None:
        return NONE
    return f"{step}/{total}" if total else str(step)


def short_id(run: str) -> str:
    """Return the end of a run id: of a ULID the start is time and looks alike, the end is random."""
    return run[-6:]


def safe(text: str) -> str:
    """Return text whose control characters are shown, never interpreted (newline and tab stay)."""
    return _CONTROL.sub(_visible, text.replace("\r\n", "\n"))


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else "�"


def one_line(text: str) -> str:
    """Return text as one safe line."""
    return safe(" ".join(text.split()))


def plural(count: int, noun: str) -> str:
    """Return ``1 run`` or ``3 runs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
