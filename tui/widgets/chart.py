"""A line chart that costs the same at any number of samples and repaints only the rows that changed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from tui.state.series import Series
from tui.theme import ascii_only
from tui.widgets.axes import writer
from tui.widgets.raster import Raster, Row, Style, Trace, View, draw
from tui.widgets.seen import seen
from tui.widgets.window import Window

#: At most seven redraws a second for new data (written to painted in 250 ms); a crosshair may redraw faster.
DATA_INTERVAL_S = 0.15
HAND_INTERVAL_S = 0.05
COLOURS = 8
#: What a line of each colour is drawn with in ASCII.
ASCII_GLYPHS = "*+x#@%&$"
_FRAMES = {True: "+-+|+-+", False: "╭─╮│╰─╯"}


@dataclass(frozen=True)
class Curve:
    """One series of a chart; ``noisy`` draws its range dim with the smoothed line over it."""

    series: Series
    label: str = ""
    kind: Literal["noisy", "line", "points"] = "noisy"
    colour: int = 0
    #: A character on the line now and then, to tell it from others without colour.
    mark: str = ""


class Chart(Widget, can_focus=True):
    """Several series over one x, with zoom, pan, log y and a crosshair; hidden charts draw nothing."""

    help = (
        "Loss and other metrics. The dim band is the range of the raw values, the bright line their moving "
        "average, dots are evaluations. Zoom with + and -, pan with the arrows or by dragging, 0 shows all. "
        "x puts a crosshair that the arrows move; all charts of the screen read the same step."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "log_y", "Log y", id="chart.log-y", tooltip="Switch the y axis to logarithmic and back"),
        Binding(
            "plus,equals_sign",
            "zoom(0.5)",
            "Zoom in",
            id="chart.zoom-in",
            tooltip="Show half the width",
            show=False,
        ),
        Binding(
            "minus", "zoom(2.0)", "Zoom out", id="chart.zoom-out", tooltip="Show twice the width", show=False
        ),
        Binding(
            "left",
            "move(-1)",
            "Left",
            id="chart.left",
            tooltip="Pan, or move the crosshair, left",
            show=False,
        ),
        Binding(
            "right",
            "move(1)",
            "Right",
            id="chart.right",
            tooltip="Pan, or move the crosshair, right",
            show=False,
        ),
        Binding(
            "0", "reset", "All", id="chart.reset", tooltip="Show the whole run and follow it", show=False
        ),
        Binding("x", "crosshair", "Crosshair", id="chart.crosshair", tooltip="Read all series at one step"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chart--frame", "chart--title", "chart--axis", "chart--cursor",
        *(f"chart--{kind}-{colour}" for kind in ("raw", "line") for colour in range(COLOURS)),
    }  # fmt: skip
    # Colours after the first are Okabe-Ito: told apart with every common kind of colour blindness.
    DEFAULT_CSS = """
    Chart { min-height: 3; height: 1fr; }
    Chart > .chart--frame { color: $border-blurred; }
    Chart:focus > .chart--frame { color: $border; }
    Chart > .chart--title { color: $foreground; text-style: bold; }
    Chart > .chart--axis { color: $text-muted; }
    Chart > .chart--cursor { color: $accent; }
    Chart > .chart--raw-0 { color: $primary 45%; }
    Chart > .chart--line-0 { color: $primary; text-style: bold; }
    Chart > .chart--raw-1 { color: #E69F00 45%; }
    Chart > .chart--line-1 { color: #E69F00; }
    Chart > .chart--raw-2 { color: #009E73 45%; }
    Chart > .chart--line-2 { color: #009E73; }
    Chart > .chart--raw-3 { color: #CC79A7 45%; }
    Chart > .chart--line-3 { color: #CC79A7; }
    Chart > .chart--raw-4 { color: #D55E00 45%; }
    Chart > .chart--line-4 { color: #D55E00; }
    Chart > .chart--raw-5 { color: #F0E442 45%; }
    Chart > .chart--line-5 { color: #F0E442; }
    Chart > .chart--raw-6 { color: #0072B2 45%; }
    Chart > .chart--line-6 { color: #0072B2; }
    Chart > .chart--raw-7 { color: $text-muted; }
    Chart > .chart--line-7 { color: $foreground; }
    Chart:nocolor > .chart--frame { text-style: dim; }
    """

    class Inspected(Message):
        """The crosshair was moved by the user; ``x`` None means it is gone."""

        def __init__(self, chart: Chart, x: float | None) -> None:
            super().__init__()
            self.chart = chart
            self.x = x

        @property
        def control(self) -> Chart:
            """The chart under the hand."""
            return self.chart

    def __init__(
        self,
        title: str = "",
        curves: Sequence[Curve] = (),
        *,
        unit: str = "",
        x_unit: str = "step",
        smoothing: float = 0.9,
        style: Style | None = None,
        interval_s: float = DATA_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """``interval_s`` is the least time between two redraws for new data."""
        super().__init__(id=id, classes=classes)
        self._interval_s = interval_s
        self.chart_title = title
        self.unit = unit
        self.x_unit = x_unit
        self.log_y = False
        #: How many times the curves were drawn.
        self.draws = 0
        self._curves = tuple(curves)
        self._smoothing = smoothing
        self._style = style or default_style()
        self._clock = clock
        self._raster = Raster((), 0, 0, (0.0, 1.0), None)
        self._captions = ("", "")
        self._stale = True
        self._timer: Timer | None = None
        self._drawn_at = -1e9
        self._window = Window()
        self._cursor: float | None = None
        self._pinned = False
        self._drag: tuple[int, float] | None = None
        self._inks: dict[str, RichStyle] = {}

    # What others call.

    def plot(self, curves: Sequence[Curve], *, x_unit: str | None = None) -> None:
        """Draw these curves from now on; another ``x_unit`` also resets zoom and crosshair."""
        self._curves = tuple(curves)
        if x_unit is not None and x_unit != self.x_unit:
            self.x_unit = x_unit
            self._window.reset()
            self._cursor = None
        self.data_changed()

    def data_changed(self) -> None:
        """The series have new samples: redraw soon, and only when visible."""
        self._redraw_soon(self._interval_s)

    def inspect(self, x: float | None) -> None:
        """Put the crosshair at ``x`` because another chart's was moved; posts nothing."""
        if x != self._cursor:
            self._cursor = x
            self._redraw_soon(HAND_INTERVAL_S)

    @property
    def view(self) -> View:
        """What is seen now."""
        return View(
            self._window.range(self._extent()), self.log_y, self._style, self.x_unit, self.unit, self._cursor
        )

    def readout(self, x: float) -> str:
        """Say the value of every curve at the sample nearest to ``x``."""
        write = writer(self.unit)
        values = []
        for curve in self._curves:
            index = curve.series.nearest(x)
            if index is not None:
                values.append(f"{curve.label or self.chart_title} {write(curve.series.y[index])}")
        return " ".join([f"{self._x_text(x)}", *values])

    # Keys and mouse.

    def action_log_y(self) -> None:
        """Switch the y axis to logarithmic and back."""
        self.log_y = not self.log_y
        self._redraw_now()

    def action_zoom(self, factor: float) -> None:
        """Show ``factor`` times the width, about the crosshair, else keeping the right edge."""
        self._zoom(factor, self._raster.x[1] if self._cursor is None else self._cursor)

    def action_move(self, direction: int) -> None:
        """Move the crosshair by one sample, or pan by a tenth where there is none."""
        if self._cursor is None:
            shown = self._raster.x
            self._window.pan(direction * 0.1 * (shown[1] - shown[0]), shown, self._extent())
            self._redraw_now()
            return
        main = self._curves[0].series if self._curves else Series()
        index = main.nearest(self._cursor)
        if index is not None:
            per_column = (self._raster.x[1] - self._raster.x[0]) / max(1, self._raster.width - 1)
            following = main.nearest(self._cursor + direction * per_column)
            if following == index:
                following = min(len(main) - 1, max(0, index + direction))
            self._point(main.x[following if following is not None else index])

    def action_reset(self) -> None:
        """Show the whole run and follow it."""
        self._window.reset()
        self._redraw_now()

    def action_crosshair(self) -> None:
        """Put a crosshair at the newest sample, or take it away."""
        self._pinned = self._cursor is None
        self._point(self._extent()[1] if self._cursor is None else None)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in at the mouse."""
        event.stop()
        self._zoom(0.8, self._raster.x_at(event.x - 1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out at the mouse."""
        event.stop()
        self._zoom(1.25, self._raster.x_at(event.x - 1))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag the window."""
        self._drag = (event.x, self._raster.x[1])
        self.capture_mouse()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """End the drag; without a movement the crosshair stays where it was clicked."""
        dragged = self._drag is not None and self._drag[0] != event.x
        self._drag = None
        self.release_mouse()
        if not dragged:
            self._pinned = not self._pinned
            self._point(self._raster.x_at(event.x - 1))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag the window, or move the crosshair along."""
        if self._drag is not None:
            start, end = self._drag
            x0, x1 = self._raster.x
            self._window.set(
                x1 - x0, end - (event.x - start) * (x1 - x0) / max(1, self._raster.width), self._extent()
            )
            self._redraw_soon(HAND_INTERVAL_S)
        elif not self._pinned:
            self._point(self._raster.x_at(event.x - 1))

    def on_leave(self, _event: events.Leave) -> None:
        """Take a crosshair away that only followed the mouse."""
        if not self._pinned and self._cursor is not None:
            self._point(None)

    # Drawing.

    def on_show(self, _event: events.Show) -> None:
        """Draw what came while the chart was hidden."""
        if self._stale:
            self._redraw_now()

    def on_resize(self, _event: events.Resize) -> None:
        """Draw for the new size at the next paint."""
        self._stale = True

    def notify_style_update(self) -> None:
        """Forget the colours of the old theme."""
        super().notify_style_update()
        self._inks.clear()

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Take what there is."""
        return container.width

    def render_line(self, y: int) -> Strip:
        """Draw one row: frame, axis and curves."""
        if self._stale and (self._timer is None or len(self._raster.rows) != max(0, self.size.height - 2)):
            self._rasterise()
        width, height = self.size
        if width < 3 or height < 3:
            return Strip.blank(width, self._ink(""))
        frame = _FRAMES[self._style == "ascii"]
        if y == 0:
            return self._frame_line(frame[0:3], self._captions[0], "title")
        if y == height - 1:
            return self._frame_line(frame[4:7], self._captions[1], "axis")
        wall = Segment(frame[3], self._ink("frame"))
        row = self._raster.rows[y - 1] if y - 1 < len(self._raster.rows) else Row(" " * (width - 2), ())
        return Strip([wall, *self._segments(row), wall], width)

    def _redraw_soon(self, interval: float) -> None:
        self._stale = True
        if self._timer is None and self._visible():
            delay = self._drawn_at + interval - self._clock()
            self._timer = self.set_timer(max(0.001, delay), self._redraw_now)

    def _redraw_now(self) -> None:
        """Draw again and repaint the rows that differ."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._stale = True
        if not self._visible():
            return
        rows, captions = self._raster.rows, self._captions
        self._rasterise()
        width, height = self.size
        if len(rows) != len(self._raster.rows):
            self.refresh()
            return
        changed = [
            y + 1 for y, (old, new) in enumerate(zip(rows, self._raster.rows, strict=True)) if old != new
        ]
        changed += [
            y for y, old, new in zip((0, height - 1), captions, self._captions, strict=True) if old != new
        ]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def _rasterise(self) -> None:
        width, height = self.size
        self._raster = draw(self._traces(), max(0, width - 2), max(0, height - 2), self.view)
        self._captions = (self._title(), self._subtitle())
        self._stale = False
        self._drawn_at = self._clock()
        self.draws += 1

    def _traces(self) -> list[Trace]:
        traces = []
        for curve in self._curves:
            colour = curve.colour % COLOURS
            if curve.kind == "noisy":
                traces.append(Trace(curve.series, "line", f"raw-{colour}", "."))
        for curve in self._curves:
            colour = curve.colour % COLOURS
            if curve.kind == "points":
                traces.append(Trace(curve.series, "points", f"line-{colour}"))
            else:
                series = curve.series.smoothed(self._smoothing) if curve.kind == "noisy" else curve.series
                traces.append(Trace(series, "line", f"line-{colour}", ASCII_GLYPHS[colour], curve.mark))
        return traces

    def _title(self) -> str:
        marks = [f"log {self.chart_title}" if self.log_y else self.chart_title]
        if self.unit and self.unit not in (self.chart_title, "s"):
            marks.append(f"[{self.unit}]")
        if self._window.zoomed:
            marks.append("zoomed" if self._window.following else "zoomed, 0 shows all")
        return " ".join(marks)

    def _subtitle(self) -> str:
        if self._cursor is not None:
            return self.readout(self._cursor)
        main = self._curves[0].series if self._curves else Series()
        if not main:
            return "no data yet"
        write = writer(self.unit)
        bounds = main.bounds
        least = f" min {write(bounds[0])}" if bounds else ""
        return f"{write(main.y[-1])}{least} {self._x_text(main.x[-1])}"

    def _x_text(self, x: float) -> str:
        return writer("s")(x) if self.x_unit == "s" else f"{self.x_unit} {x:,.0f}"

    def _frame_line(self, ends: str, caption: str, ink: str) -> Strip:
        room = self.size.width - 5
        if len(caption) > room:
            caption = caption[: max(0, room)]
        text = f" {caption} " if caption and room > 0 else ""
        rest = ends[1] * (self.size.width - 2 - len(text) - bool(text))
        frame = self._ink("frame")
        left = ends[0] + (ends[1] if text else "")
        return Strip(
            [Segment(left, frame), Segment(text, self._ink(ink)), Segment(rest + ends[2], frame)],
            self.size.width,
        )

    def _segments(self, row: Row) -> list[Segment]:
        segments, end, plain = [], 0, self._ink("")
        for span in row.spans:
            if span.start > end:
                segments.append(Segment(row.text[end : span.start], plain))
            segments.append(Segment(row.text[span.start : span.end], self._ink(span.ink)))
            end = span.end
        if end < len(row.text):
            segments.append(Segment(row.text[end:], plain))
        return segments

    def _ink(self, name: str) -> RichStyle:
        if name not in self._inks:
            self._inks[name] = self.get_component_rich_style(f"chart--{name}") if name else self.rich_style
        return self._inks[name]

    # The window.

    def _visible(self) -> bool:
        return self.is_attached and seen(self.screen) and self.is_on_screen and self.display

    def _extent(self) -> tuple[float, float]:
        held = [curve.series.x for curve in self._curves if curve.series]
        return min((x[0] for x in held), default=0.0), max((x[-1] for x in held), default=1.0)

    def _zoom(self, factor: float, about: float) -> None:
        self._window.zoom(factor, about, self._raster.x, self._extent())
        self._redraw_now()

    def _point(self, x: float | None) -> None:
        self.inspect(x)
        self.post_message(self.Inspected(self, x))


def default_style() -> Style:
    """Braille, or ASCII where the output is not UTF-8."""
    return "ascii" if ascii_only(getattr(sys.__stdout__, "encoding", None)) else "braille"
