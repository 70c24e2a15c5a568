"""One metric over steps, time or tokens: arrays with min/max blocks, so that any size draws as fast."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

#: Samples of a block and of a super block: 416 samples a column (100,000 points) cost seven look-ups.
BLOCK = 64
_RATIO = 64
SUPER = BLOCK * _RATIO

_NO_MIN = math.inf
_NO_MAX = -math.inf


class Blocks:
    """Minimum and maximum of the finite values of each whole or started run of ``width`` samples."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.low = array("d")
        self.high = array("d")

    def add(self, index: int, value: float) -> None:
        """Count the sample ``index`` in; ``value`` may be NaN or infinite, which changes no bound."""
        if index % self.width == 0:
            self.low.append(_NO_MIN)
            self.high.append(_NO_MAX)
        if math.isfinite(value):
            self.low[-1] = min(self.low[-1], value)
            self.high[-1] = max(self.high[-1], value)

    def truncate(self, length: int) -> None:
        """Forget every block that is not wholly below sample ``length``."""
        whole = length // self.width
        del self.low[whole:]
        del self.high[whole:]


class Series:
    """Samples (x, y) in the order of x; a NaN or infinite y is kept and drawn as a gap.

    Not thread-safe: one thread feeds and reads it, or it is handed over whole.
    """

    def __init__(self, name: str = "", unit: str = "") -> None:
        self.name = name
        self.unit = unit
        self.x = array("d")
        self.y = array("d")
        #: Counts every change, so that a reader sees cheaply whether it is up to date.
        self.revision = 0
        self._blocks = Blocks(BLOCK)
        self._supers = Blocks(SUPER)
        self._gaps = bytearray()  # one byte a block: 1 when it holds a sample that is not finite
        self._smoothed: tuple[float, Series] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def append(self, x: float, y: float) -> None:
        """Add a sample; raises ValueError when ``x`` is not finite or lies before the last one."""
        if not math.isfinite(x) or (self.x and x < self.x[-1]):
            raise ValueError(
                f"{self.name or 'series'}: x {x!r} does not follow {self.x[-1] if self.x else None!r}"
            )
        self.x.append(x)
        self.y.append(y)
        self._count(len(self.y) - 1, y)
        self.revision += 1

    def extend(self, samples: Iterable[tuple[float, float]]) -> None:
        """Append each sample; raises ValueError at the first that is out of order."""
        for x, y in samples:
            self.append(x, y)

    def truncate_after(self, x: float) -> None:
        """Drop every sample whose x is greater: a resumed run supersedes its later steps."""
        length = bisect_right(self.x, x)
        if length == len(self.x):
            return
        del self.x[length:]
        del self.y[length:]
        self._recount(length)
        if self._smoothed is not None:
            self._smoothed[1].truncate_after(x)
        self.revision += 1

    def clear(self) -> None:
        """Drop every sample."""
        self.truncate_after(-math.inf)

    def window(self, x0: float, x1: float) -> tuple[int, int]:
        """Return the half-open range of indices whose x is in [x0, x1]."""
        first = bisect_left(self.x, x0)
        return first, bisect_right(self.x, x1, lo=first)

    def nearest(self, x: float) -> int | None:
        """Return the index of the sample nearest to ``x``, None when there is none."""
        if not self.x:
            return None
        after = bisect_left(self.x, x)
        if after == 0:
            return 0
        if after == len(self.x):
            return after - 1
        return after if self.x[after] - x < x - self.x[after - 1] else after - 1

    def at(self, x: float) -> float | None:
        """Return y at exactly ``x`` (the newest of several), None when nothing was measured there."""
        index = bisect_right(self.x, x) - 1
        return self.y[index] if index >= 0 and self.x[index] == x else None

    @property
    def last(self) -> float | None:
        """The newest y, finite or not; None when empty."""
        return self.y[-1] if self.y else None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The smallest and largest finite y; None when there is none."""
        return self.range(0, len(self.y))

    def range(self, first: int, stop: int, *, positive: bool = False) -> tuple[float, float] | None:
        """Return the smallest and largest finite y of samples first..stop-1, None when there is none.

        ``positive`` leaves out values of zero and below, which a logarithmic axis can't show.
        """
        begin, end = -(-first // BLOCK), stop // BLOCK
        if begin >= end:
            low, high = self._scan(first, stop, positive)
        else:
            low, high = self._whole_blocks(begin, end)
            if positive and low <= 0:
                low, high = self._positive_blocks(begin, end)
            for edge in ((first, begin * BLOCK), (end * BLOCK, stop)):
                edge_low, edge_high = self._scan(*edge, positive)
                low, high = min(low, edge_low), max(high, edge_high)
        return (low, high) if low <= high else None

    def smoothed(self, beta: float) -> Series:
        """Return the exponential moving average, s = beta * s + (1 - beta) * y, s_0 = y_0; gaps stay gaps.

        The same object each time for the same ``beta`` (0 <= beta < 1), brought up to date by this call.
        """
        if self._smoothed is None or self._smoothed[0] != beta:
            self._smoothed = (beta, Series(self.name, self.unit))
        target = self._smoothed[1]
        state = target._last_finite()
        for index in range(len(target), len(self.y)):
            value = self.y[index]
            if math.isfinite(value):
                state = value if state is None else beta * state + (1 - beta) * value
                target.append(self.x[index], state)
            else:
                target.append(self.x[index], math.nan)
        return target

    def _last_finite(self) -> float | None:
        return next((value for value in reversed(self.y) if math.isfinite(value)), None)

    def _count(self, index: int, value: float) -> None:
        self._blocks.add(index, value)
        self._supers.add(index, value)
        if index % BLOCK == 0:
            self._gaps.append(0)
        if not math.isfinite(value):
            self._gaps[-1] = 1

    def _recount(self, length: int) -> None:
        """Rebuild the started block and super block at the end; all before them still hold."""
        self._blocks.truncate(length)
        del self._gaps[length // BLOCK :]
        for index in range(length // BLOCK * BLOCK, length):
            self._blocks.add(index, self.y[index])
            if index % BLOCK == 0:
                self._gaps.append(0)
            if not math.isfinite(self.y[index]):
                self._gaps[-1] = 1
        self._supers.truncate(length)
        for index in range(length // SUPER * SUPER, length):
            self._supers.add(index, self.y[index])

    def _whole_blocks(self, begin: int, end: int) -> tuple[float, float]:
        """Return the bounds of the blocks begin..end-1, by super blocks where there are many."""
        lows, highs = self._blocks.low, self._blocks.high
        first, last = -(-begin // _RATIO), end // _RATIO
        if last - first < 2:
            return min(lows[begin:end]), max(highs[begin:end])
        low, high = min(self._supers.low[first:last]), max(self._supers.high[first:last])
        first, last = first * _RATIO, last * _RATIO
        low = min(low, min(lows[begin:first], default=low), min(lows[last:end], default=low))
        high = max(high, max(highs[begin:first], default=high), max(highs[last:end], default=high))
        return low, high

    def _positive_blocks(self, begin: int, end: int) -> tuple[float, float]:
        """Return the bounds of the positive values; only blocks with others are read one by one."""
        low, high = _NO_MIN, _NO_MAX
        for block in range(begin, end):
            some = self._blocks.low[block], self._blocks.high[block]
            if some[0] <= 0:
                some = self._scan(block * BLOCK, (block + 1) * BLOCK, True)
            low, high = min(low, some[0]), max(high, some[1])
        return low, high

    def _scan(self, first: int, stop: int, positive: bool) -> tuple[float, float]:
        """Return the bounds of single samples."""
        if first >= stop:
            return _NO_MIN, _NO_MAX
        values: Sequence[float] = self.y[first:stop]
        if positive or 1 in self._gaps[first // BLOCK : (stop - 1) // BLOCK + 1]:
            values = [value for value in values if math.isfinite(value) and (value > 0 or not positive)]
            return min(values, default=_NO_MIN), max(values, default=_NO_MAX)
        return min(values), max(values)
