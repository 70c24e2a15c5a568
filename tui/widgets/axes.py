"""Numbers for axes and captions: where ticks go and how a value is written in few characters."""

from __future__ import annotations

import math
from collections.abc import Callable

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
#: Distances of time ticks in seconds, from 10 s to a week.
_TIME_STEPS = (
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    21600,
    43200,
    86400,
    172800,
    604800,
)


def short(value: float) -> str:
    """Write a number in at most eight characters: 0.0123, 17.2G, 1e-5."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{value:+}"[:4]
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 9.995e14:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    for factor, prefix in _PREFIXES:
        if size >= factor * 0.9995:
            return f"{_three(value / factor)}{prefix}"
    return _three(value)


def duration(seconds: float) -> str:
    """Write seconds as 45s, 12m30s or 3h05m."""
    whole = round(abs(seconds)) if abs(seconds) < 1e12 else 10**12
    sign = "-" if seconds < 0 and whole else ""
    if whole < 60:
        return f"{sign}{whole}s"
    if whole < 3600:
        return f"{sign}{whole // 60}m{whole % 60:02}s"
    return f"{sign}{whole // 3600}h{whole % 3600 // 60:02}m"


def writer(unit: str) -> Callable[[float], str]:
    """Return how values of a unit are written."""
    return duration if unit == "s" else short


def linear_ticks(low: float, high: float, most: int, unit: str = "") -> list[float]:
    """Return at most ``most`` + 1 round values in [low, high], evenly spaced; times if unit is s."""
    if most < 1 or not low < high:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * power for factor in (1, 2, 5, 10) if factor * power >= raw), 10 * power)
    if unit == "s" and 5 < raw <= _TIME_STEPS[-1]:
        step = next(seconds for seconds in _TIME_STEPS if seconds >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, min(last, first + most) + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return powers of ten in [low, high], thinned to ``most``; both ends where there are fewer than two."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first < 1 or most < 2:
        return [low, high] if most >= 2 else [high]
    stride = -(-(last - first + 1) // most)
    return [10.0**exponent for exponent in range(first, last + 1, stride)]


def tick_labels(ticks: list[float], unit: str = "") -> list[str]:
    """Write ticks with as many decimals as their distance needs."""
    if unit == "s":
        return [duration(tick) for tick in ticks]
    if len(ticks) > 1 and max(map(abs, ticks)) < 1e4:
        decimals = -math.floor(math.log10(abs(ticks[1] - ticks[0])) + 1e-9)
        if decimals <= 0:
            return [f"{tick:.0f}" for tick in ticks]
        if decimals <= 4:
            return [f"{tick:.{decimals}f}" for tick in ticks]
    return [short(tick) for tick in ticks]


def _three(value: float) -> str:
    """Three significant digits without an exponent."""
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
