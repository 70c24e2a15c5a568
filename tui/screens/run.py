"""One run: loss large, the other curves small, machine, log, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from presets.errors import FinetuiError
from remote_agent.protocol import ENDED, Checkpoint
from tui.messages import LogExtended, MetricsAdded, SampleTaken
from tui.paths import data_dir, private_dir
from tui.screens.base import Context, bindings_of, keys_of
from tui.screens.board import KnownRun
from tui.screens.checkpoint_list import CheckpointList
from tui.screens.findings import Findings
from tui.screens.machine import MachineGauges
from tui.screens.panels import Panel, PanelDeck
from tui.screens.problem import ProblemScreen
from tui.screens.rank_logs import RankLogs
from tui.screens.run_actions import RunActions
from tui.screens.run_text import heading, progress, troubles
from tui.screens.wording import plural, short_id
from tui.state.anomalies import anomalies
from tui.state.connection import ConnectionChanged
from tui.state.spool import LogSpool
from tui.widgets.chart import DATA_INTERVAL_S, Chart, Curve
from tui.widgets.logpanel import LogPanel
from tui.widgets.logview import LogView
from tui.widgets.raster import Style
from tui.widgets.seen import seen

#: The small charts are redrawn once a second.
SMALL_INTERVAL_S = 1.0
#: The head is written at most four times a second, however often the status changes.
STATUS_S = 0.25


class RunScreen(RunActions):
    """Follows one run while it is open; what came stays on this machine, readable offline."""

    CSS_PATH = "run.tcss"
    place = "run"
    AUTO_FOCUS = "#loss"
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("run")

    def __init__(self, context: Context, known: KnownRun) -> None:
        super().__init__(context)
        self._known = known
        self._metrics = context.board.metrics_of(known.run)
        self._state_seen = ""
        self._was_away = False
        self._saves_seen = 0
        self._charts: list[Chart] = []
        self._spool: LogSpool | None = None
        self._status_timer: Timer | None = None
        self._findings = Findings()
        self._ranks = RankLogs(self)

    def heading(self) -> Content:
        """Return the title line."""
        return heading(self._known, self.context.ascii)

    def body(self) -> Iterable[Any]:
        """Yield progress, trouble and the panels."""
        style: Style | None = "ascii" if self.context.ascii else None
        curves = self._curves()
        titles = {"loss": "1 loss", "lr": "2 learning rate", "grad": "3 gradient norm", "speed": "4 speed"}
        charts = {
            name: Chart(
                title,
                curves[name],
                style=style,
                smoothing=0.6,
                id=name,
                unit="tokens/s" if name == "speed" else "",
                interval_s=DATA_INTERVAL_S if name == "loss" else SMALL_INTERVAL_S,
            )
            for name, title in titles.items()
        }
        self._charts = list(charts.values())
        yield Static(id="progress")
        yield Static(id="trouble")
        yield PanelDeck(
            Panel("loss", "Loss", charts["loss"], key="1", bare=True),
            Panel("machine", "Machine", MachineGauges(self.context.ascii), key="5"),
            Panel("lr", "LR", charts["lr"], key="2", bare=True),
            Panel("grad", "Grad", charts["grad"], key="3", bare=True),
            Panel("speed", "Tok/s", charts["speed"], key="4", bare=True),
            Panel("checkpoints", "Checkpoints", CheckpointList(), key="7"),
            Panel("log", "Log", LogPanel(when=self._metrics.when), key="6"),
            action="panel",
            small=(100, 30),
        )

    def links(self) -> Iterable[ConnectionChanged]:
        """Return the connection to the run's machine."""
        link = self.context.board.links.get(self._known.target)
        return [link] if link else []

    def on_mount(self) -> None:
        """Show what is known, follow the run, count seconds."""
        self._show_status()
        sample = self.context.board.samples.get(self._known.target)
        if sample:
            self.query_one(MachineGauges).show(sample[0])
        self.in_background(
            "follow the run",
            partial(self.context.backend.watch, self._known.target, self._known.run),
            self._watched,
        )
        self._list_checkpoints()
        self.set_interval(1.0, self._tick)

    def _watched(self, spool: LogSpool) -> None:
        self._spool = spool
        self._keep_settings()
        self.query_one(LogPanel).view.show(spool)

    def _keep_settings(self) -> None:
        """Have them here for a comparison when the machine is gone."""
        if not self.context.board.stale(self._known):
            self.in_background(
                "keep the settings",
                partial(self.context.backend.settings, self._known.target, self._known.run, live=True),
                lambda settings: None,
                lambda error: None,
            )

    def _tick(self) -> None:
        if seen(self):
            self._show_status()
            self._ranks.follow()

    def on_resize(self, event: events.Resize) -> None:
        """Draw the bar for the new width."""
        self._show_status()

    # What arrives

    def runs_changed(self) -> None:
        """Take the newest status of this run."""
        known = self.context.board.runs.get(self._known.run)
        if known is None:
            return
        self._known = known
        if self._status_timer is None:
            self._status_timer = self.set_timer(STATUS_S, self._show_status)

    def take(self, message: Message) -> None:
        """Take metric records, log bytes and gauges of this run."""
        if isinstance(message, MetricsAdded) and message.run == self._known.run:
            self._take_metrics(message)
        elif isinstance(message, LogExtended) and message.source == self._known.run:
            self.query_one(LogPanel).view.log_grew()
        elif isinstance(message, SampleTaken) and message.source == self._known.target:
            self.query_one(MachineGauges).show(message.sample)

    def _take_metrics(self, message: MetricsAdded) -> None:
        if message.offset == 0:
            self._plot()
        for chart in self._charts:
            chart.data_changed()
        if len(self._metrics.saves) != self._saves_seen:
            self._saves_seen = len(self._metrics.saves)
            self._list_checkpoints()

    def _plot(self) -> None:
        """Point the charts at the series, which are new ones after a clear."""
        for chart, curves in self._curves().items():
            self.query_one(f"#{chart}", Chart).plot(curves)

    def _curves(self) -> dict[str, list[Curve]]:
        series = self._metrics.series
        return {
            "loss": [Curve(series("loss"), "loss"), Curve(series("eval_loss"), "eval", "points", 1)],
            "lr": [Curve(series("lr"), "lr", "line")],
            "grad": [Curve(series("grad_norm"), "norm")],
            "speed": [Curve(series("tokens_per_s"), "tokens/s", "noisy", 2)],
        }

    def on_chart_inspected(self, message: Chart.Inspected) -> None:
        """Put the crosshair of all charts at the same step."""
        for chart in self._charts:
            if chart is not message.chart:
                chart.inspect(message.x)

    def on_log_view_copied(self, message: LogView.Copied) -> None:
        """Say what was copied; what a clipboard refuses goes to a file."""
        if message.in_clipboard:
            self.notify(f"Copied {plural(message.lines, 'line')}")
            return
        path = data_dir() / "copies" / f"{self._known.run}-{time.strftime('%Y%m%d-%H%M%S')}.txt"
        self.in_background(
            "save the lines",
            partial(_save, path, message.text),
            lambda _: self.notify(f"Too long to copy; saved as {path}"),
        )

    def on_log_view_rank_asked(self) -> None:
        """Show the log of the next rank, or that of all again."""
        if not self.context.board.stale(self._known):
            self._ranks.next(self._known)
        else:
            self.notify(f"{self._known.target} is not connected", severity="warning")

    def show_log(self, spool: LogSpool | None, title: str = "") -> None:
        """Show this log (None: the run's own), named in the frame."""
        self.query_one(LogPanel).view.show(spool or self._spool)
        self.query_one(PanelDeck).panel("log").border_title = f"6 Log {title}".rstrip()

    def log_grew(self) -> None:
        """The log that is shown has more lines."""
        self.query_one(LogPanel).view.log_grew()

    def on_checkpoint_list_picked(self) -> None:
        """Enter on a checkpoint chats with it."""
        self.action_chat()

    def widget_help(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return the keys of charts and log."""
        return [("Charts", keys_of(Chart)), ("Log", keys_of(LogView))]

    def _show_status(self) -> None:
        if self._status_timer is not None:
            self._status_timer.stop()
            self._status_timer = None
        try:
            line = self.query_one("#progress", Static)
        except NoMatches:
            return
        known = self._known
        age_s = self.context.board.age_s(known) if self.context.board.stale(known) else None
        texts = {
            "#heading": self.heading(),
            "#progress": progress(known, line.size.width, age_s, time.time(), self.context.ascii),
            "#trouble": self._troubles(age_s),
        }
        for selector, text in texts.items():
            _write(self.query_one(selector, Static), text)
        self.query_one("#trouble").display = bool(texts["#trouble"])
        self.query_one(MachineGauges).mark_age(age_s)
        if known.status.state != self._state_seen:
            if self._state_seen in ENDED:
                self._findings.resumed()
            self._state_seen = known.status.state
            self._list_checkpoints()
        elif self._was_away and age_s is None:
            self._list_checkpoints()
        self._was_away = age_s is not None

    def _troubles(self, age_s: float | None) -> Content:
        sample = self.context.board.samples.get(self._known.target)
        if self._spool is not None:
            self._findings.read(self._spool, self._known.status.step)
        found = anomalies(
            self._known.status,
            self._metrics,
            # Old data says nothing of what happens now.
            silent_s=0.0 if age_s is not None else self.context.clock() - self._known.moved,
            sample=sample[0] if sample and age_s is None else None,
            checkpoints=self.query_one(CheckpointList).shown,
            log=self._findings.in_log,
        )
        self._findings.note(found)
        return troubles(self._known, found)

    def action_findings(self) -> None:
        """List everything that looked wrong, with what to do."""
        text = self._findings.listed()
        if not text:
            self.notify("Nothing looked wrong so far")
            return
        self.app.push_screen(ProblemScreen(f"What looked wrong with {short_id(self._known.run)}", text))

    # Checkpoints

    def _list_checkpoints(self) -> None:
        if self.context.board.stale(self._known):
            return
        self.in_background(
            "list the checkpoints",
            partial(self.context.backend.checkpoints, self._known.target, self._known.run),
            self._show_checkpoints,
            lambda error: None,
        )

    def _show_checkpoints(self, checkpoints: list[Checkpoint]) -> None:
        self.query_one(CheckpointList).show(checkpoints)

    def chosen_run(self) -> KnownRun | None:
        """Return the run of this screen."""
        return self._known

    def chosen_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint under the cursor while its panel has the focus; else none is meant."""
        listing = self.query_one(CheckpointList)
        return listing.chosen if listing.has_focus else None

    def base_chosen(self) -> bool:
        """Tell whether the cursor is on the base in the focused list of checkpoints."""
        listing = self.query_one(CheckpointList)
        return listing.has_focus and listing.base_chosen

    def run_deleted(self, known: KnownRun) -> None:
        """Leave the screen of a run that is gone."""
        super().run_deleted(known)
        self.app.pop_screen()

    # Keys

    def action_panel(self, name: str) -> None:
        """Focus a panel."""
        self.query_one(PanelDeck).show(name)

    def action_zoom(self) -> None:
        """Zoom the panel with the focus."""
        self.query_one(PanelDeck).toggle_zoom()

    def action_back(self) -> None:
        """Leave the zoom first, then the screen."""
        deck = self.query_one(PanelDeck)
        if deck.zoomed:
            deck.toggle_zoom()
        else:
            super().action_back()


def _write(static: Static, text: Content) -> None:
    """Show a text; a layout, which repaints the whole screen, only when its number of lines changes."""
    before = static.content
    if before == text:
        return
    lines = before.plain.count("\n") if isinstance(before, Content) else 0
    static.update(text, layout=lines != text.plain.count("\n") or not before)


def _save(path: Path, text: str) -> None:
    try:
        private_dir(path.parent)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FinetuiError(f"can't write {path}", cause=error.strerror or str(error)) from error
