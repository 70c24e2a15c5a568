"""How a log is drawn: the visible lines, cut or wrapped, with hits, the chosen line and the selection."""

from __future__ import annotations

import re

from rich.style import Style as RichStyle
from textual.cache import LRUCache
from textual.geometry import Offset
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from tui.state.logrows import LogRows
from tui.state.spool import LogSpool
from tui.widgets.logline import draw_line, select_cells
from tui.widgets.logwrap import Piece, page_down, page_up

MAX_COPIED_LINES = 20_000


class LogPage(ScrollView):
    """Draws the rows at the scroll offset; a subclass moves it."""

    following: var[bool] = var(True)
    wrapped: var[bool] = var(False)

    def __init__(
        self, spool: LogSpool | None = None, *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._rows = LogRows(spool)
        self._width = 1  # of the widest line drawn so far
        self._cursor: int | None = None
        self._typed: re.Pattern[str] | None = None
        #: First line and texts of the last read, good until the next tick.
        self._read: tuple[int, list[str]] = (0, [])
        self._pieces: list[Piece] | None = None
        self._strips: LRUCache[int, Strip] = LRUCache(512)
        self._base: RichStyle | None = None

    def widened(self) -> None:
        """A line wider than all before was drawn."""

    @property
    def _top(self) -> int:
        """The first visible row."""
        if self.wrapped and self.following and (page := self._wrapped_page()):
            return page[0].row
        return round(self.scroll_y)

    def _row_at(self, y: int) -> int | None:
        """Return the row that is drawn at the y-th line of the view."""
        if self.wrapped:
            page = self._wrapped_page()
            return page[y].row if y < len(page) else None
        row = self._top + y
        return row if row < len(self._rows) else None

    def selection_updated(self, selection: Selection | None) -> None:
        """Draw the selection."""
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the selected text, reading only its lines."""
        first = selection.start.y if selection.start is not None else 0
        last = selection.end.y if selection.end is not None else len(self._rows) - 1
        last = min(last, len(self._rows) - 1, first + MAX_COPIED_LINES)
        if last < first:
            return None
        text = "\n".join(self._rows.texts([self._rows.line(row) for row in range(first, last + 1)]))
        start = Offset(selection.start.x, 0) if selection.start is not None else None
        end = Offset(selection.end.x, last - first) if selection.end is not None else None
        return Selection(start, end).extract(text), "\n"

    def notify_style_update(self) -> None:
        """Forget the colours of the old theme."""
        super().notify_style_update()
        self._strips.clear()
        self._base = None

    def render_line(self, y: int) -> Strip:
        """Draw one visible line."""
        left, top = round(self.scroll_offset.x), round(self.scroll_offset.y)
        width = self.size.width
        if self._base is None:  # computing it takes longer than drawing a line
            self._base = self.rich_style
        if self.wrapped:
            page = self._wrapped_page()
            if y >= len(page):
                return Strip.blank(width, self._base)
            return self._placed(page[y].strip, page[y].row, page[y].left)
        if self._rows.spool is None or top + y >= len(self._rows):
            return Strip.blank(width, self._base)
        strip = self._strip(self._rows.line(top + y))
        if strip.cell_length > self._width:
            self._width = strip.cell_length
            self.call_later(self.widened)
        return self._placed(strip.crop(left, left + width), top + y, left)

    def _placed(self, strip: Strip, row: int, left: int) -> Strip:
        """Return what is seen of a row from its cell ``left`` on, with the selection."""
        strip = strip.extend_cell_length(self.size.width, self._base)
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(row)) is not None:
            end = strip.cell_length if span[1] < 0 else span[1] - left
            strip = select_cells(
                strip, span[0] - left, end, self.screen.get_component_rich_style("screen--selection")
            )
        return strip.apply_offsets(left, row)

    def _wrapped_page(self) -> list[Piece]:
        if self._pieces is None:
            # The view's own width has the scroll bar over its last cell.
            width, height = self.scrollable_content_region.width, self.size.height
            rows = len(self._rows)
            if self._rows.spool is None:
                self._pieces = []
            elif self.following:
                self._pieces = page_up(self._strip_of_row, rows, width, height)
            else:
                self._pieces = page_down(self._strip_of_row, round(self.scroll_y), rows, width, height)
        return self._pieces

    def _strip_of_row(self, row: int) -> Strip:
        return self._strip(self._rows.line(row))

    def _strip(self, line: int) -> Strip:
        strip = self._strips.get(line)
        if strip is not None:
            return strip
        chosen = line == self._cursor
        strip = draw_line(
            self._text(line),
            self._base or self.rich_style,
            pattern=self._typed or (self._rows.find.pattern if self._rows.find is not None else None),
            match=self.get_component_rich_style("log--current" if chosen else "log--match"),
            cursor=self.get_component_rich_style("log--cursor") if chosen else None,
        )
        if line < self._rows.known - 1:  # the last line may still grow
            self._strips[line] = strip
        return strip

    def _text(self, line: int) -> str:
        """Return a line, read with the rest of the page: each read lets other threads take the GIL."""
        assert self._rows.spool is not None
        first, texts = self._read
        if not first <= line < first + len(texts):
            more = 1 if self._rows.filter is not None else max(1, self.size.height)
            first, texts = self._read = (line, self._rows.spool.read_lines(line, line + more))
        return texts[line - first] if texts else ""
