"""The list of runs: a line a run, drawn on demand, with columns that follow the width.

Not DataTable: any cell update there redraws every visible row (50 ms for 28 of them) and its columns
can't follow the window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.actions import ACTIONS
from tui.screens.board import KnownRun
from tui.screens.wording import NONE, brief, number, one_line, rate, short_id, steps
from tui.theme import mark
from tui.widgets.sparkline import sparkline


@dataclass(frozen=True)
class Column:
    """One column: it appears from a table width of ``from_width`` cells on."""

    title: str
    width: int
    from_width: int = 0
    right: bool = False


COLUMNS = (
    Column("State", 11),
    Column("Run", 7),
    Column("Preset", 14, 40),
    Column("Step", 9, 48, right=True),
    Column("Loss", 9, 57, right=True),
    Column("", 10, 68),
    Column("ETA", 6, 76, right=True),
    Column("Tok/s", 8, 90, right=True),
    Column("Target", 14, 100),
    Column("Age", 6, 107, right=True),
)

#: Columns that take what is left of the width, one after the other, up to a width.
_GROWING = {"Preset": 26, "": 40}


def fitting(width: int) -> list[Column]:
    """Return the columns for a table of ``width`` cells, some grown to fill it."""
    shown = [column for column in COLUMNS if column.from_width <= width]
    spare = max(0, width - 2 - sum(column.width + 1 for column in shown))
    grown = []
    for column in shown:
        extra = max(0, min(spare, _GROWING.get(column.title, 0) - column.width))
        spare -= extra
        grown.append(replace(column, width=column.width + extra))
    return grown


def cells(
    known: KnownRun, columns: Sequence[Column], stale: bool, age_s: float, ascii_only: bool
) -> list[str]:
    """Return the text of a run in each column, not yet padded."""
    status = known.status
    live = known.active
    texts = {
        "State": f"{mark(status.state, ascii_only)} {status.state}",
        "Run": short_id(known.run),
        "Preset": f"{status.kind} {short_id(status.parent)}" if status.kind != "train" else status.preset,
        "Step": steps(status.step, status.total),
        "Loss": number(status.loss),
        "ETA": brief(status.eta_s) if live else NONE,
        "Tok/s": rate(status.tokens_per_s, "") if live else NONE,
        "Target": known.target,
        "Age": brief(age_s) if stale else "live",
    }
    return [
        one_line(texts[column.title])
        if column.title
        else sparkline(known.losses, column.width, ascii_only=ascii_only)
        for column in columns
    ]


class RunTable(ScrollView, can_focus=True):
    """Runs with a cursor; rows are compared by run id, so the cursor stays on its run when others come."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "move(-10)", "Page up", show=False),
        Binding("pagedown", "move(10)", "Page down", show=False),
        Binding("home", "move(-1000000)", "First", show=False),
        Binding("end", "move(1000000)", "Last", show=False),
        *(
            Binding(action.keys, f"screen.{action.method}", action.label, id=action.id)
            for action in ACTIONS
            if action.id == "runs.open"
        ),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "runs--header", "runs--cursor", "runs--cursor-blurred", "runs--stale", "runs--spark", "runs--mark",
        "runs--preparing", "runs--starting", "runs--running", "runs--stopping", "runs--finished",
        "runs--stopped", "runs--failed", "runs--lost",
    }  # fmt: skip

    class Moved(Message):
        """The cursor is on another run."""

    def __init__(self, describe: Callable[[KnownRun], tuple[bool, float]], ascii_only: bool) -> None:
        """``describe`` says of a run whether its data is stale, and its age in seconds."""
        super().__init__(id="runs")
        self._describe = describe
        self._ascii = ascii_only
        self._rows: list[KnownRun] = []
        self._drawn: list[tuple[str, ...]] = []
        self._cursor = ""
        self.marked: set[str] = set()

    @property
    def chosen(self) -> KnownRun | None:
        """The run under the cursor."""
        return self._rows[self._cursor_index()] if self._rows else None

    def show(self, rows: list[KnownRun]) -> None:
        """Show these runs in this order; draws only lines whose text changed."""
        columns = fitting(self.size.width)
        self._rows = rows
        drawn = [self._signature(known, columns) for known in rows]
        if rows and self._cursor not in {known.run for known in rows}:
            self._cursor = rows[0].run
            self.post_message(self.Moved())
        if len(drawn) != len(self._drawn):
            self._drawn = drawn
            self.virtual_size = Size(self.size.width, len(rows) + 1)
            self.refresh()
            return
        for index, (new, old) in enumerate(zip(drawn, self._drawn, strict=True)):
            if new != old:
                self._refresh_row(index)
        self._drawn = drawn

    def _signature(self, known: KnownRun, columns: Sequence[Column]) -> tuple[str, ...]:
        stale, age_s = self._describe(known)
        return (known.run, str(stale), *cells(known, columns, stale, age_s, self._ascii))

    def _refresh_row(self, index: int) -> None:
        y = index + 1 - self.scroll_offset.y
        if 1 <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _cursor_index(self) -> int:
        for index, known in enumerate(self._rows):
            if known.run == self._cursor:
                return index
        return 0

    def on_resize(self, event: events.Resize) -> None:
        """Fit the columns to the new width."""
        self.virtual_size = Size(event.size.width, len(self._rows) + 1)
        self._drawn = []
        self.show(self._rows)
        self.refresh()

    def on_focus(self) -> None:
        """Draw the cursor as active."""
        self.refresh()

    def on_blur(self) -> None:
        """Draw the cursor as inactive."""
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the clicked run; a double click opens it."""
        index = event.y + self.scroll_offset.y - 1
        if event.y >= 1 and 0 <= index < len(self._rows):
            self.move_to(index)
            if event.chain == 2:
                self.call_later(self.screen.run_action, "screen.open_run")

    def action_move(self, rows: int) -> None:
        """Move the cursor by rows."""
        self.move_to(self._cursor_index() + rows)

    def move_to(self, index: int) -> None:
        """Put the cursor on a row, as near as there is one."""
        if not self._rows:
            return
        old = self._cursor_index()
        new = max(0, min(len(self._rows) - 1, index))
        self._cursor = self._rows[new].run
        self._refresh_row(old)
        self._refresh_row(new)
        page = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if new < top:
            self.scroll_to(y=new, animate=False)
        elif new >= top + page:
            self.scroll_to(y=new - page + 1, animate=False)
        if new != old:
            self.post_message(self.Moved())

    def toggle_mark(self) -> None:
        """Mark the run under the cursor, or unmark it, and go down."""
        known = self.chosen
        if known is not None:
            self.marked ^= {known.run}
            self.action_move(1)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw the header or one run."""
        width = self.size.width
        columns = fitting(width)
        base = self.rich_style
        if y == 0:
            style = self.get_component_rich_style("runs--header", partial=True)
            text = "  " + " ".join(_pad(column.title, column) for column in columns)
            return Strip([Segment(text[:width].ljust(width), base + style)])
        index = y - 1 + self.scroll_offset.y
        if index >= len(self._rows):
            return Strip.blank(width, base)
        return self._row_strip(self._rows[index], columns, base).adjust_cell_length(width, base)

    def _row_strip(self, known: KnownRun, columns: Sequence[Column], base: Style) -> Strip:
        stale, age_s = self._describe(known)
        here = known.run == self._cursor
        if here:
            cursor = "runs--cursor" if self.has_focus else "runs--cursor-blurred"
            base = base + self.get_component_rich_style(cursor, partial=True)
        if stale:
            base = base + self.get_component_rich_style("runs--stale", partial=True)
        marked = known.run in self.marked
        lead = ("> " if here and self._ascii else "▸ " if here else "  ") if not marked else "+ "
        segments = [Segment(lead, base)]
        texts = cells(known, columns, stale, age_s, self._ascii)
        for column, text in zip(columns, texts, strict=True):
            style = base
            if not here:
                style = style + self._cell_style(column, known.status.state, stale)
            segments.append(Segment(_pad(text, column), style))
            segments.append(Segment(" ", base))
        return Strip(segments)

    def _cell_style(self, column: Column, state: str, stale: bool) -> Style:
        if column.title == "State" and not stale:
            name = f"runs--{state}"
            if name in self.COMPONENT_CLASSES:
                return self.get_component_rich_style(name, partial=True)
        if not column.title and not stale:
            return self.get_component_rich_style("runs--spark", partial=True)
        return Style.null()


def _pad(text: str, column: Column) -> str:
    """Return text of exactly the column's width; a cut is marked."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) > column.width:
        return set_cell_size(text, column.width - 1) + "…"
    gap = " " * (column.width - cell_len(text))
    return gap + text if column.right else text + gap
