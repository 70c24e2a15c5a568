"""A few numbers as a few characters, for a table's cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-=*#"


def sparkline(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """Return the last of ``values`` as bars of their own scale, means where they are too many.

    At most ``width`` characters; a share without any finite value is a space.
    """
    count = min(width, len(values))
    if count < 1:
        return ""
    shares = [
        values[index * len(values) // count : (index + 1) * len(values) // count] for index in range(count)
    ]
    means = [_mean(share) for share in shares]
    known = [mean for mean in means if mean is not None]
    if not known:
        return " " * count
    low, high = min(known), max(known)
    bars = _ASCII_BARS if ascii_only else _BARS
    # Halved before the subtraction: two finite numbers may be further apart than a float can say.
    span = high / 2 - low / 2
    return "".join(
        " " if mean is None else bars[round((mean / 2 - low / 2) / span * (len(bars) - 1)) if span > 0 else 0]
        for mean in means
    )


def bar(part: float | None, width: int, *, ascii_only: bool = False) -> str:
    """Return exactly ``width`` characters filled to ``part`` (0..1, clamped; None is unknown)."""
    if width < 1:
        return ""
    if part is None or math.isnan(part):
        return ("?" if ascii_only else "┄") * width
    eighths = round(min(1.0, max(0.0, part)) * width * (1 if ascii_only else 8))
    if ascii_only:
        return "#" * eighths + "." * (width - eighths)
    whole, rest = divmod(eighths, 8)
    text = "█" * whole + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    return text + "─" * (width - len(text))


def _mean(values: Sequence[float]) -> float | None:
    finite = [value / len(values) for value in values if math.isfinite(value)]
    return math.fsum(finite) * (len(values) / len(finite)) if finite else None
