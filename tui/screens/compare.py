"""Two or more runs: their losses in one chart, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui.messages import MetricsAdded
from tui.screens.base import Context, PlaceScreen, bindings_of, keys_of
from tui.screens.board import KnownRun
from tui.screens.differences import differences, table
from tui.screens.wording import number, short_id
from tui.widgets.chart import ASCII_GLYPHS, Chart, Curve

AXES: tuple[Literal["step", "time", "tokens"], ...] = ("step", "time", "tokens")
#: Characters and colours of the curves, in the order of the chart's.
MARKS = "●▲■◆★▼✚✖"
PALETTE = ("$primary", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#0072B2", "$foreground")
_UNITS = {"step": "step", "time": "s", "tokens": "tokens"}


class CompareScreen(PlaceScreen):
    """Follows the compared runs while it is open."""

    CSS_PATH = "compare.tcss"
    place = "compare"
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("compare")

    def __init__(self, context: Context, runs: Sequence[KnownRun]) -> None:
        super().__init__(context)
        self._runs = list(runs)
        self._axis = AXES[0]
        self._settings: dict[str, dict[str, Any]] = {}

    def body(self) -> Iterable[Any]:
        """Yield the chart above the table."""
        yield Static(id="legend")
        yield Chart("loss", style="ascii" if self.context.ascii else None, smoothing=0.6, id="compared")
        yield VerticalScroll(Static(id="differences"), id="differences-scroll")

    def on_mount(self) -> None:
        """Follow the runs and ask for their settings."""
        self._plot()
        self._show_table()
        self.query_one(Chart).focus()
        backend = self.context.backend
        for known in self._runs:
            self.in_background(
                "follow a run", partial(backend.watch, known.target, known.run), lambda spool: None
            )
            self.in_background(
                "read a run's settings",
                partial(backend.settings, known.target, known.run, live=not self.context.board.stale(known)),
                partial(self._take_settings, known.run),
                lambda error: None,
            )

    def _take_settings(self, run: str, settings: dict[str, Any]) -> None:
        self._settings[run] = settings
        self._show_table()

    def take(self, message: Message) -> None:
        """Draw new points."""
        if isinstance(message, MetricsAdded) and message.run in {known.run for known in self._runs}:
            if message.offset == 0:
                self._plot()
            self.query_one(Chart).data_changed()
            self._show_legend()

    def _mark(self, index: int) -> str:
        """Return what tells a curve apart without colour: in ASCII the whole line is drawn with it."""
        marks = ASCII_GLYPHS if self.context.ascii else MARKS
        return marks[index % len(marks)]

    def _show_legend(self) -> None:
        parts: list[str | tuple[str, str]] = []
        for index, known in enumerate(self._runs):
            last = self.context.board.metrics_of(known.run).series("loss", self._axis).last
            colour = PALETTE[index % len(PALETTE)]
            parts += [(f"{self._mark(index)} ", colour), f"{short_id(known.run)} {number(last)}   "]
        legend, text = self.query_one("#legend", Static), Content.assemble(*parts)
        if legend.content != text:
            legend.update(text, layout=False)

    def _plot(self) -> None:
        curves = []
        for index, known in enumerate(self._runs):
            series = self.context.board.metrics_of(known.run).series("loss", self._axis)
            curves.append(Curve(series, short_id(known.run), "noisy", index, self._mark(index)))
        self._show_legend()
        self.query_one(Chart).plot(curves, x_unit=_UNITS[self._axis])

    def _show_table(self) -> None:
        heads = ["", *(short_id(known.run) for known in self._runs)]
        rows = [
            ["preset", *(known.status.preset for known in self._runs)],
            ["state", *(known.status.state for known in self._runs)],
            ["loss", *(number(known.status.loss) for known in self._runs)],
            ["eval loss", *(number(known.status.eval_loss) for known in self._runs)],
        ]
        if len(self._settings) == len(self._runs):
            rows += differences([self._settings[known.run] for known in self._runs])
        else:
            rows.append(
                [
                    "settings",
                    *("read" if known.run in self._settings else "not read yet" for known in self._runs),
                ]
            )
        self.query_one("#differences", Static).update(Content(table([heads, *rows])))

    def action_axis(self) -> None:
        """Draw by the next x axis."""
        self._axis = AXES[(AXES.index(self._axis) + 1) % len(AXES)]
        self._plot()

    def widget_help(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return the keys of the chart."""
        return [("Chart", keys_of(Chart))]
