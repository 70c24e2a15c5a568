"""Home: all runs of all targets, newest first."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Static

from remote_agent.protocol import RunStatus
from tui.screens.base import Context, bindings_of
from tui.screens.board import KnownRun
from tui.screens.phase import phase_text
from tui.screens.run_actions import RunActions
from tui.screens.runtable import RunTable
from tui.screens.wording import duration, number, one_line, plural, rate, steps
from tui.theme import colour_of, mark
from tui.widgets.seen import seen

EMPTY = """No runs yet.

  [b $accent]t[/]  try the demo: it trains a small model on this machine, no GPU and no download, \
in a minute or two
  [b $accent]n[/]  launch a run: pick a preset, your data and a machine
  [b $accent]?[/]  all keys

The same from a shell: [b]finetui demo[/], [b]finetui launch PRESET --data FILE --on TARGET[/]"""

SORTS = ("newest", "loss", "state", "preset")


class RunsScreen(RunActions):
    """The table of runs with the details of the one under the cursor."""

    place = "runs"
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("runs")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._filter = ""
        self._sort = "newest"

    def body(self) -> Iterable[Any]:
        """Yield table, empty state and details."""
        yield Static(EMPTY, id="empty")
        yield RunTable(self._describe, self.context.ascii)
        yield Static(id="details")

    def on_mount(self) -> None:
        """Show what is known and count ages once a second."""
        self.query_one(RunTable).focus()
        self.show_runs()
        self.set_interval(1.0, self._tick)

    def on_screen_resume(self) -> None:
        """Catch up with what came while another screen was on top."""
        self.show_runs()

    def runs_changed(self) -> None:
        """Draw what changed."""
        self.show_runs()

    def _tick(self) -> None:
        if seen(self):
            self.show_runs()

    def show_runs(self) -> None:
        """Draw the runs as the board knows them; nothing while another screen is on top."""
        if not self.laid_out or not seen(self):
            return
        rows = self._rows()
        empty = not self.context.board.newest_first()
        self.query_one("#empty").display = empty
        table = self.query_one(RunTable)
        table.display = not empty
        self.query_one("#details").display = not empty
        table.show(rows)
        self._show_heading(len(rows))
        self._show_details()

    def _rows(self) -> list[KnownRun]:
        rows = self.context.board.newest_first()
        if self._filter:
            needle = self._filter.lower()
            rows = [known for known in rows if needle in _haystack(known)]
        if self._sort == "loss":
            rows.sort(key=lambda known: (known.status.loss is None, known.status.loss or 0.0))
        elif self._sort == "state":
            rows.sort(key=lambda known: (not known.active, known.status.state))
        elif self._sort == "preset":
            rows.sort(key=lambda known: known.status.preset)
        return rows

    def _describe(self, known: KnownRun) -> tuple[bool, float]:
        board = self.context.board
        return board.stale(known), board.age_s(known)

    def heading(self) -> Content:
        """Return the title line with the number of runs."""
        return self._heading_of(len(self.context.board.newest_first()))

    def _heading_of(self, shown: int) -> Content:
        active = len(self.context.board.active_runs())
        parts = [plural(shown, "run")]
        if active:
            parts.append(f"{active} active")
        if self._filter:
            parts.append(f"filter: {self._filter}")
        if self._sort != "newest":
            parts.append(f"by {self._sort}")
        return Content.assemble(("finetui", "bold $primary"), "  Runs  ", (" · ".join(parts), "$text-muted"))

    def _show_heading(self, shown: int) -> None:
        heading = self.query_one("#heading", Static)
        text = self._heading_of(shown)
        if heading.content != text:
            heading.update(text)

    def _show_details(self) -> None:
        details = self.query_one("#details", Static)
        known = self.query_one(RunTable).chosen
        text = self._details(known) if known else Content("")
        if details.content != text:
            details.update(text)

    def _details(self, known: KnownRun) -> Content:
        status = known.status
        stale, age_s = self._describe(known)
        target = f"on {known.target}" + (f", not connected, seen {duration(age_s)} ago" if stale else "")
        first = Content.assemble(
            (f"{mark(status.state, self.context.ascii)} {status.state}", f"${colour_of(status.state)}"),
            f"  {known.run}  {target}",
        )
        numbers = [
            f"step {steps(status.step, status.total)}" if status.step is not None else "",
            f"loss {number(status.loss)}" if status.loss is not None else "",
            rate(status.tokens_per_s) if status.tokens_per_s and known.active else "",
            f"ETA {duration(status.eta_s)}" if status.eta_s is not None and known.active else "",
            _time_text(known),
        ]
        second = " · ".join(item for item in [status.preset, one_line(status.model), *numbers] if item)
        third = status.message or (phase_text(known, time.time()) if known.active else "")
        return Content("\n").join([first, Content(second), Content(one_line(third))])

    def on_run_table_moved(self) -> None:
        """Show the details of the run under the cursor."""
        self._show_details()

    def chosen_run(self) -> KnownRun | None:
        """Return the run under the cursor."""
        return self.query_one(RunTable).chosen

    def run_deleted(self, known: KnownRun) -> None:
        """Drop the row."""
        super().run_deleted(known)
        self.show_runs()

    def action_open_run(self) -> None:
        """Open the run under the cursor."""
        known = self.chosen_run()
        if known is not None:
            from tui.screens.run import RunScreen

            self.app.push_screen(RunScreen(self.context, known))

    def action_launch(self) -> None:
        """Open the launch screen."""
        from tui.screens.launch import LaunchScreen

        self.app.push_screen(LaunchScreen(self.context))

    def action_mark(self) -> None:
        """Mark the run under the cursor."""
        self.query_one(RunTable).toggle_mark()

    def action_compare(self) -> None:
        """Compare the marked runs."""
        marked = self.query_one(RunTable).marked
        runs = [known for known in self._rows() if known.run in marked]
        if len(runs) < 2:
            self.notify("Mark two or more runs with space first")
            return
        from tui.screens.compare import CompareScreen

        self.app.push_screen(CompareScreen(self.context, runs))

    def action_files(self) -> None:
        """Browse the machine of the run under the cursor."""
        from tui.screens.files import FilesScreen

        known = self.chosen_run()
        target, path = (known.target, f"runs/{known.run}") if known else ("local", "")
        self.app.push_screen(FilesScreen(self.context, target, path))

    def action_demo(self) -> None:
        """Launch the demo on this machine and open it."""
        self.notify("Preparing the demo on this machine")
        self.in_background("launch the demo", self.context.backend.launch_demo, self._open_launched)

    def _open_launched(self, status: RunStatus) -> None:
        from tui.screens.run import RunScreen

        self.app.push_screen(RunScreen(self.context, self.context.board.launched("local", status)))

    def action_cursor(self, where: str) -> None:
        """Move the table's cursor: the vim keys."""
        rows = {"down": 1, "up": -1, "top": -1_000_000, "bottom": 1_000_000}[where]
        self.query_one(RunTable).action_move(rows)

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self.show_runs()

    def action_filter(self) -> None:
        """Open the filter line."""
        from tui.screens.prompt import PromptScreen

        def filtered(text: str | None) -> None:
            if text is not None:
                self._filter = text.strip()
                self.show_runs()

        self.app.push_screen(PromptScreen("Show runs that contain", self._filter), filtered)


def _haystack(known: KnownRun) -> str:
    status = known.status
    return " ".join((known.run, status.preset, status.model, status.state, known.target)).lower()


def _time_text(known: KnownRun) -> str:
    status = known.status
    if status.ended and status.started:
        return f"took {duration(status.ended - status.started)}"
    return ""
