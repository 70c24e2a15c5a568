"""Draw series into a box of characters: a pure function, the same cost at any number of samples."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from tui.state.series import BLOCK, Series
from tui.widgets.axes import linear_ticks, log_ticks, short, tick_labels

Style = Literal["braille", "block", "ascii"]

#: Dots of a cell: columns, rows, and the bit of each dot by column, then by row from the top.
_DOTS: dict[Style, tuple[tuple[int, ...], ...]] = {
    "braille": ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)),
    "block": ((1, 2),),
    "ascii": ((1,),),
}
_GLYPHS: dict[Style, str] = {"braille": "".join(chr(0x2800 + mask) for mask in range(256)), "block": " ▀▄█"}
_POINT: dict[Style, str] = {"braille": "●", "block": "●", "ascii": "o"}
#: Cells between two marks of a line, and between the marks of two lines.
_MARK_STEP, _MARK_SHIFT = 15, 4
_LIMIT = 1e300
#: Narrower or lower boxes have no axes: every cell is for the curve.
_MIN_GUTTER_WIDTH = 16
_MIN_AXIS_HEIGHT = 4

AXIS, CURSOR = "axis", "cursor"


@dataclass(frozen=True)
class Trace:
    """One series to draw; ``ink`` comes back in the spans, ``glyph`` tells it apart in ASCII."""

    series: Series
    kind: Literal["line", "points"] = "line"
    ink: str = "line"
    glyph: str = "*"
    #: Put on the line now and then, to tell it apart without colour; empty for none.
    mark: str = ""


@dataclass(frozen=True)
class View:
    """What part is seen and how; ``x`` None is all of it, ``cursor`` the x of a crosshair."""

    x: tuple[float, float] | None = None
    log_y: bool = False
    style: Style = "braille"
    x_unit: str = "step"
    y_unit: str = ""
    cursor: float | None = None


@dataclass(frozen=True)
class Span:
    """Cells start..end-1 of a row are written with ``ink``."""

    start: int
    end: int
    ink: str


@dataclass(frozen=True)
class Row:
    """One line of exactly the box's width."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Raster:
    """The drawn rows, and where x lies among the columns."""

    rows: tuple[Row, ...]
    left: int
    width: int
    x: tuple[float, float]
    y: tuple[float, float] | None

    def x_at(self, column: int) -> float:
        """Return the x in the middle of a column of the box, clamped to the plot."""
        if self.width < 2:
            return self.x[0]
        part = min(1.0, max(0.0, (column - self.left) / (self.width - 1)))
        return min(self.x[1], self.x[0] + (self.x[1] - self.x[0]) * part)


@dataclass(frozen=True)
class _Scale:
    """Maps x to dot columns and y to dot rows (0 at the top)."""

    x0: float
    per_x: float
    low: float
    high: float
    columns: int
    rows: int
    log: bool

    def row(self, y: float) -> int | None:
        """Return the dot row of ``y``, None where it can't be shown."""
        if not math.isfinite(y) or (self.log and y <= 0):
            return None
        y = math.log10(y) if self.log else min(_LIMIT, max(-_LIMIT, y))
        part = (y - self.low) / (self.high - self.low)
        return round((1 - min(1.0, max(0.0, part))) * (self.rows - 1))

    def column(self, x: float) -> float:
        """Return the dot column of ``x``, fractional and perhaps outside."""
        return (x - self.x0) * self.per_x


def draw(traces: list[Trace], width: int, height: int, view: View) -> Raster:
    """Return ``height`` rows of ``width`` cells; later traces are drawn over earlier ones."""
    if width < 1 or height < 1:
        return Raster((), 0, 0, (0.0, 1.0), None)
    x = _extent(traces, view)
    y = _bounds(traces, x, view.log_y)
    plot_height = height - 1 if height >= _MIN_AXIS_HEIGHT else height
    gutter = _gutter(y, width, plot_height, view)
    left = len(gutter[0])
    canvas = _Canvas(width - left, plot_height)
    if y is not None:
        _plot(traces, canvas, x, y, view)
    if view.cursor is not None and x[0] <= view.cursor <= x[1]:
        canvas.cursor((view.cursor - x[0]) / (x[1] - x[0]), view.style)
    rows = [
        Row(label + "".join(line), _spans(left, ink))
        for label, line, ink in zip(gutter, canvas.chars, canvas.inks, strict=True)
    ]
    if plot_height < height:
        text = " " * left + _x_axis(x, width - left, view)
        rows.append(Row(text, (Span(0, width, AXIS),)))
    return Raster(tuple(rows), left, width - left, x, y)


def _extent(traces: list[Trace], view: View) -> tuple[float, float]:
    if view.x is not None:
        x0, x1 = view.x
    else:
        held = [trace.series.x for trace in traces if trace.series]
        x0, x1 = min((x[0] for x in held), default=0.0), max((x[-1] for x in held), default=1.0)
    return _spread(x0, x1, 0.5)


def _spread(low: float, high: float, pad: float) -> tuple[float, float]:
    """Widen an extent that is too narrow to divide by, and clamp one that would overflow."""
    low, high = max(-_LIMIT, min(low, high)), min(_LIMIT, max(low, high))
    least = max(abs(low), abs(high)) * 1e-9
    if high - low <= max(least, 1e-200):
        pad = max(pad, least)
        return low - pad, high + pad
    return low, high


def _bounds(traces: list[Trace], x: tuple[float, float], log: bool) -> tuple[float, float] | None:
    found = [trace.series.range(*trace.series.window(*x), positive=log) for trace in traces]
    held = [bounds for bounds in found if bounds is not None]
    if not held:
        return None
    low, high = min(bounds[0] for bounds in held), max(bounds[1] for bounds in held)
    if log:
        low, high = _spread(math.log10(low), math.log10(high), 0.5)
        return 10 ** min(299.0, max(-307.0, low)), 10 ** min(300.0, max(-306.0, high))
    return _spread(low, high, abs(low) * 0.1 or 1.0)


class _Canvas:
    """The cells of the plot: a character and an ink each."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.chars = [[" "] * width for _ in range(height)]
        self.inks = [[""] * width for _ in range(height)]

    def cursor(self, part: float, style: Style) -> None:
        """Draw a vertical line where nothing else is."""
        column = round(part * (self.width - 1))
        for row, ink in zip(self.chars, self.inks, strict=True):
            if row[column] == " ":
                row[column], ink[column] = "|" if style == "ascii" else "│", CURSOR


def _plot(
    traces: list[Trace], canvas: _Canvas, x: tuple[float, float], y: tuple[float, float], view: View
) -> None:
    dots = _DOTS[view.style]
    low, high = (math.log10(y[0]), math.log10(y[1])) if view.log_y else y
    columns, rows = canvas.width * len(dots), canvas.height * len(dots[0])
    per_x = max(1, columns - 1) / (x[1] - x[0])
    scale = _Scale(x[0], per_x, low, high, columns, rows, view.log_y)
    marked: list[tuple[_Masks, Trace]] = []
    for trace in traces:
        if trace.kind == "points":
            _draw_points(trace, scale, canvas, view.style)
        else:
            masks = _Masks(canvas.width, canvas.height, dots)
            _draw_line(trace.series, scale, masks)
            masks.stamp(canvas, trace, _GLYPHS.get(view.style, " " + trace.glyph[:1]))
            if trace.mark:
                marked.append((masks, trace))
    for index, (masks, trace) in enumerate(marked):  # last, so that no line covers another's marks
        masks.mark(canvas, trace, _MARK_STEP // 2 + index * _MARK_SHIFT)


class _Masks:
    """The dots that one trace sets, a byte a cell."""

    def __init__(self, width: int, height: int, dots: tuple[tuple[int, ...], ...]) -> None:
        self.width = width
        self.lines = [bytearray(width) for _ in range(height)]
        self.across, self.down = len(dots), len(dots[0])
        #: Mask of the dots first..last of a cell's dot column.
        self._runs = [
            [[sum(bits[first : last + 1]) for last in range(self.down)] for first in range(self.down)]
            for bits in dots
        ]

    def vertical(self, column: int, top: int, bottom: int) -> None:
        """Set the dots top..bottom (from the top, both included) of a dot column."""
        cell, side = divmod(column, self.across)
        runs, down = self._runs[side], self.down
        first, last = top // down, bottom // down
        if first == last:
            self.lines[first][cell] |= runs[top % down][bottom % down]
            return
        self.lines[first][cell] |= runs[top % down][down - 1]
        full = runs[0][down - 1]
        for line in range(first + 1, last):
            self.lines[line][cell] |= full
        self.lines[last][cell] |= runs[0][bottom % down]

    def stamp(self, canvas: _Canvas, trace: Trace, glyphs: str) -> None:
        """Write the set cells over what is there."""
        for line, row, ink in zip(self.lines, canvas.chars, canvas.inks, strict=True):
            if any(line):
                for cell, mask in enumerate(line):
                    if mask:
                        row[cell] = glyphs[mask]
                        ink[cell] = trace.ink

    def mark(self, canvas: _Canvas, trace: Trace, first: int) -> None:
        """Put the trace's mark on it at every _MARK_STEP cells; each trace begins elsewhere."""
        for cell in range(first % _MARK_STEP, self.width, _MARK_STEP):
            for line, row, ink in zip(self.lines, canvas.chars, canvas.inks, strict=True):
                if line[cell]:
                    row[cell], ink[cell] = trace.mark, trace.ink
                    break


def _draw_line(series: Series, scale: _Scale, masks: _Masks) -> None:
    """Draw minimum to maximum of each dot column, joined to the last sample before it; gaps stay open."""
    xs, ys = series.x, series.y
    half = 0.5 / scale.per_x
    first = bisect_left(xs, scale.x0 - half)
    before: tuple[float, int] | None = None
    if first > 0 and (row := scale.row(ys[first - 1])) is not None:
        before = (scale.column(xs[first - 1]), row)
    column = 0
    while column < scale.columns and first < len(xs):
        here = math.floor(scale.column(xs[first]) + 0.5)
        if here >= scale.columns:
            break
        column = max(column, here)
        stop = bisect_left(xs, scale.x0 + (column + 0.5) / scale.per_x, lo=first + 1)
        if stop - first >= 4 * BLOCK:
            # Ending on a block spares two scans a column; it moves a sample by a quarter of a dot at most.
            stop = min(len(xs), -(-stop // BLOCK) * BLOCK)
        entry, leave = scale.row(ys[first]), scale.row(ys[stop - 1])
        if before is not None and entry is not None:
            _join(before, (column, entry), scale, masks)
        if stop - first == 1:
            if entry is not None:
                masks.vertical(column, entry, entry)
        elif (bounds := series.range(first, stop, positive=scale.log)) is not None:
            top, bottom = scale.row(bounds[1]), scale.row(bounds[0])
            if top is not None and bottom is not None:
                masks.vertical(column, top, bottom)
        before = None if leave is None else (column, leave)
        first, column = stop, column + 1
    if before is not None and first < len(xs) and (row := scale.row(ys[first])) is not None:
        _join(before, (scale.column(xs[first]), row), scale, masks)


def _join(start: tuple[float, int], end: tuple[float, int], scale: _Scale, masks: _Masks) -> None:
    """Connect two samples by dots in the columns between them, both ends left out, clipped to the box."""
    (x0, row0), (x1, row1) = start, end
    if x1 <= x0:
        return
    slope = (row1 - row0) / (x1 - x0)
    first, last = max(0, math.floor(x0) + 1), min(scale.columns - 1, math.ceil(x1) - 1)
    row = round(row0 + slope * (max(x0, first - 1) - x0))
    for column in range(first, last + 1):
        following = round(row0 + slope * (column - x0))
        top, bottom = min(row, following), max(row, following)
        masks.vertical(column, top, bottom)
        row = following
    if 0 <= x1 < scale.columns and abs(row1 - row) > 1:
        masks.vertical(int(x1), min(row, row1), max(row, row1))


def _draw_points(trace: Trace, scale: _Scale, canvas: _Canvas, style: Style) -> None:
    series, dots = trace.series, _DOTS[style]
    first, stop = series.window(scale.x0, scale.x0 + (scale.columns - 1) / scale.per_x)
    stride = max(1, (stop - first) // (2 * scale.columns))
    for index in range(first, stop, stride):
        row = scale.row(series.y[index])
        if row is None:
            continue
        column = min(scale.columns - 1, max(0, round(scale.column(series.x[index]))))
        cell, line = column // len(dots), row // len(dots[0])
        canvas.chars[line][cell], canvas.inks[line][cell] = _POINT[style], trace.ink


def _gutter(y: tuple[float, float] | None, width: int, height: int, view: View) -> list[str]:
    """Return the label column, one string a row, all of one length; empty where there is no room."""
    if y is None or width < _MIN_GUTTER_WIDTH or height < 2:
        return [""] * height
    most = max(2, height // 3)
    ticks = log_ticks(*y, most) if view.log_y else linear_ticks(*y, most, view.y_unit)
    labels = [short(tick) for tick in ticks] if view.log_y else tick_labels(ticks, view.y_unit)
    wall = "|" if view.style == "ascii" else "│"
    size = max(map(len, labels), default=0)
    if size == 0 or size + 1 > width // 3:
        return [""] * height
    low, high = (math.log10(y[0]), math.log10(y[1])) if view.log_y else y
    lines = [""] * height
    for tick, label in zip(ticks, labels, strict=True):
        value = math.log10(tick) if view.log_y else tick
        row = round((1 - (value - low) / (high - low)) * (height - 1))
        if 0 <= row < height:
            lines[row] = label
    return [f"{line:>{size}}{wall}" for line in lines]


def _x_axis(x: tuple[float, float], width: int, view: View) -> str:
    """Return the labels under the plot, thinned until none touches another; the unit at the right end."""
    unit = view.x_unit if view.x_unit != "s" else "time"
    room = width - len(unit) - 1 if width >= len(unit) + 8 else width
    cells = [" "] * width
    if room < width:
        cells[room + 1 :] = unit
    ticks = linear_ticks(*x, max(1, width // 12), view.x_unit)
    free = 0
    for tick, label in zip(ticks, tick_labels(ticks, view.x_unit), strict=True):
        middle = round((tick - x[0]) / (x[1] - x[0]) * (width - 1))
        start = max(0, middle - len(label) // 2)
        if start >= free and start + len(label) <= room:
            cells[start : start + len(label)] = label
            free = start + len(label) + 2
    return "".join(cells)


def _spans(left: int, inks: list[str]) -> tuple[Span, ...]:
    spans = [Span(0, left, AXIS)] if left else []
    start = left
    for ink, run in groupby(inks):
        end = start + sum(1 for _ in run)
        if ink:
            spans.append(Span(start, end, ink))
        start = end
    return tuple(spans)
