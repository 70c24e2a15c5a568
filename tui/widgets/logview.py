"""A log of any size: only the visible lines are read, and new ones never pull the reader away."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.timer import Timer

from tui.state.logjump import Place, StepTime, find_place
from tui.state.logrows import LogRows
from tui.state.search import compile_pattern
from tui.state.spool import Head, LogSpool
from tui.widgets.logkeys import HELP, KEYS
from tui.widgets.logpage import MAX_COPIED_LINES, LogPage

#: New lines arrive on the screen at most ten times a second.
TICK_S = 0.1
#: While whole pages fly by nobody reads them: four times a second is enough, at half the CPU.
FLOOD_TICK_S = 0.25
#: xterm and tmux refuse longer OSC 52 sequences (100,000 characters of base64).
MAX_CLIPBOARD_BYTES = 74_000


class LogView(LogPage, can_focus=True):
    """Virtual view of a LogSpool: follow or paused, find, filter, copy."""

    help = HELP
    BINDINGS: ClassVar[list[BindingType]] = KEYS
    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--match", "log--current", "log--cursor"}
    DEFAULT_CSS = """
    LogView { height: 1fr; scrollbar-size-horizontal: 0; scrollbar-size-vertical: 1; overflow-x: auto; }
    LogView > .log--match { background: $accent 40%; text-style: bold; }
    LogView > .log--current { background: $accent; color: $background; text-style: bold; }
    LogView > .log--cursor { background: $boost; }
    LogView:nocolor > .log--match, LogView:nocolor > .log--current { text-style: reverse; }
    """

    class Asked(Message):
        """The user wants to type a pattern or a place; ``purpose`` is find, filter or jump."""

        def __init__(self, purpose: str) -> None:
            super().__init__()
            self.purpose = purpose

    class Changed(Message):
        """What the status line says may have changed."""

        def can_replace(self, message: Message) -> bool:
            """One waiting is enough."""
            return isinstance(message, LogView.Changed)

    class Copied(Message):
        """Lines were copied; False ``in_clipboard``: too long for it, save ``text`` to a file."""

        def __init__(self, text: str, lines: int, in_clipboard: bool) -> None:
            super().__init__()
            self.text = text
            self.lines = lines
            self.in_clipboard = in_clipboard

    class RankAsked(Message):
        """The user wants to see the log of the next rank."""

    class Located(Message):
        """A place was looked for; ``line`` None when there is none."""

        def __init__(self, spool: LogSpool, line: int | None) -> None:
            super().__init__()
            self.spool = spool
            self.line = line

    class Scanned(Message):
        """A search thread came further."""

        def can_replace(self, message: Message) -> bool:
            """One waiting is enough."""
            return isinstance(message, LogView.Scanned)

    class HeadScanned(Message):
        """The lines before the tail of a spool were found."""

        def __init__(self, spool: LogSpool, head: Head) -> None:
            super().__init__()
            self.spool = spool
            self.head = head

    def __init__(
        self, spool: LogSpool | None = None, *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(spool, id=id, classes=classes)
        self._paused_at = 0
        self._jump_pending = False
        self._pace_s = TICK_S
        self._note = ""
        self._timer: Timer | None = None
        self._moving = False
        self._gone = threading.Event()

    # What others call.

    def show(self, spool: LogSpool | None) -> None:
        """Show another log from its end."""
        self._rows.cancel()
        self._rows = LogRows(spool)
        self._strips.clear()
        self._cursor, self._width = None, 1
        self.following = True
        self._index_head()
        self._tick()

    def log_grew(self) -> None:
        """The spool has more lines; they are shown at the next tick."""
        if self._timer is None and self.is_attached:
            self._timer = self.set_timer(self._pace_s, self._tick)

    def find(self, pattern: str) -> None:
        """Find lines from the first visible one on; empty clears. Raises InvalidInput when it is broken."""
        start = self._rows.line(self._top) if len(self._rows) else 0
        self._rows.set_find(pattern, start, self._scanned)
        self._cursor = None
        self._jump_pending = True
        self._redraw()

    def mark(self, pattern: str) -> None:
        """Mark what a pattern that is still being typed matches on the page; empty marks nothing."""
        typed = compile_pattern(pattern) if pattern else None
        if typed != self._typed:
            self._typed = typed
            self._strips.clear()
            self._pieces = None
            self.refresh()

    def jump(self, place: Place, logged: StepTime | None) -> None:
        """Look for a place in a thread and show it; ``logged`` says when its step was."""
        spool = self._rows.spool
        if spool is not None:
            threading.Thread(
                target=self._locate, args=(spool, place, logged), name="log jump", daemon=True
            ).start()

    def _locate(self, spool: LogSpool, place: Place, logged: StepTime | None) -> None:
        self.post_message(self.Located(spool, find_place(spool, place, logged, self._gone)))

    def filter(self, pattern: str) -> None:
        """Show matching lines only; empty shows all. Raises InvalidInput for a broken expression."""
        self._rows.set_filter(pattern, self._scanned)
        self._layout_rows()

    def show_line(self, line: int) -> None:
        """Choose a line and bring it into view; stops following."""
        self._cursor = line
        self.following = False
        row = self._rows.row(line)
        top, height = self._top, self.scrollable_content_region.height
        if not top <= row < top + height:
            self._scroll(max(0, row - height // 3))
        self._redraw()

    @property
    def status(self) -> str:
        """One line: lines, follow state, find and filter counts."""
        lines, *scans = self._rows.counts(self._cursor)
        new = len(self._rows) - self._paused_at
        paused = f"paused +{new:,} lines" if new > 0 else "paused"
        parts = [lines, "following" if self.following else paused, *scans]
        return "  ".join(
            [*parts, *(["wrapped"] if self.wrapped else []), *([self._note] if self._note else [])]
        )

    # Events.

    def on_mount(self) -> None:
        """Show what is there."""
        self._index_head()
        self.call_after_refresh(self._tick)

    def on_unmount(self) -> None:
        """Stop the threads."""
        self._gone.set()
        self._rows.cancel()

    def on_resize(self, _event: events.Resize) -> None:
        """Stay at the end while following."""
        self._pieces = None
        if self.following:
            self.call_after_refresh(self._scroll_end)

    def on_click(self, event: events.Click) -> None:
        """Choose the clicked line."""
        row = self._row_at(event.y)
        if row is not None:
            self._cursor = self._rows.line(row)
            self._redraw()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Any upward move of the user's stops following."""
        super().watch_scroll_y(old_value, new_value)
        self._pieces = None
        # A view that grows is moved up by Textual to its new last page: that is still the end.
        if new_value < old_value and new_value < self.max_scroll_y and not self._moving:
            self.following = False

    def watch_following(self, following: bool) -> None:
        """Remember where the pause began, or go to the end."""
        self._pieces = None
        self._paused_at = len(self._rows)
        if following and self.is_attached:
            self._scroll_end()
        self.post_message(self.Changed())

    def on_log_view_scanned(self, event: Scanned) -> None:
        """Show the first hit as soon as it is known."""
        event.stop()
        if self._rows.filter is not None:
            self._layout_rows()
        if self._jump_pending and self._rows.find is not None and len(self._rows.find):
            top = self._rows.line(self._top) if len(self._rows) else 0
            ahead = self._rows.find.index(top) < len(self._rows.find)
            if ahead or self._rows.find.done:
                self._jump_pending = False
                line = self._rows.find.following(top) if ahead else self._rows.find.preceding(top)
                if line is not None:
                    self.show_line(line)
        self.post_message(self.Changed())

    def on_log_view_located(self, event: Located) -> None:
        """Go where it is."""
        event.stop()
        self._note = "" if event.line is not None else "no such place"
        if event.line is not None and event.spool is self._rows.spool:
            self.show_line(event.line)
        self.post_message(self.Changed())

    def on_log_view_head_scanned(self, event: HeadScanned) -> None:
        """Shift everything that counts lines; the view stays where it is."""
        event.stop()
        grown = event.spool.adopt_head(event.head)
        if event.spool is not self._rows.spool or not grown:
            return
        top = self._top
        if self._cursor is not None:
            self._cursor += grown
        self._paused_at += grown
        self._rows.known += grown
        self._strips.clear()
        if self._rows.filter is not None:
            self.filter(self._rows.filter.pattern.pattern)
        elif not self.following:
            self._layout_rows()
            self._scroll(top + grown)
        if self._rows.find is not None:
            self.find(self._rows.find.pattern.pattern)
        self._tick()

    # Keys.

    def action_move(self, lines: int) -> None:
        """Scroll by lines."""
        self._by_hand(self._top + lines, lines)

    def action_page(self, pages: int) -> None:
        """Scroll by pages less one line."""
        self._by_hand(self._top + pages * max(1, self.size.height - 1), pages)

    def action_top(self) -> None:
        """Go to the first line."""
        self._by_hand(0, -1)

    def action_end(self) -> None:
        """Go to the last line and follow."""
        self._cursor = None
        self.following = True
        self._scroll_end()
        self._redraw()

    def action_follow(self) -> None:
        """Follow, or stop following."""
        if self.following:
            self.following = False
        else:
            self.action_end()

    def action_sideways(self, columns: int) -> None:
        """Scroll left or right; following keeps the column."""
        self.scroll_to(x=max(0, self.scroll_x + columns), animate=False, immediate=True)

    def action_wrap(self) -> None:
        """Wrap long lines, or cut them at the edge."""
        top = self._top
        self.wrapped = not self.wrapped
        self._pieces = None
        self.scroll_to(x=0, animate=False, immediate=True)
        self._layout_rows()
        if not self.following:
            self._scroll(top)

    def action_rank(self) -> None:
        """Ask whoever knows the ranks."""
        self.post_message(self.RankAsked())

    def action_ask(self, purpose: str) -> None:
        """Ask whoever owns the find bar."""
        self.post_message(self.Asked(purpose))

    def action_hit(self, direction: int) -> None:
        """Go to the next or previous hit, round the end."""
        if self._rows.find is None:
            return
        here = self._cursor if self._cursor is not None else self._rows.line(self._top)
        line = self._rows.find.following(here + 1) if direction > 0 else self._rows.find.preceding(here)
        if line is not None:
            self._jump_pending = False
            self.show_line(line)

    def action_copy_line(self) -> None:
        """Copy the chosen line, else the last visible one."""
        if len(self._rows):
            bottom = min(len(self._rows), self._top + self.size.height) - 1
            self._copy([self._cursor if self._cursor is not None else self._rows.line(bottom)])

    def action_copy_matches(self) -> None:
        """Copy the matching lines, the filtered ones, or those on the screen."""
        scan = self._rows.find or self._rows.filter
        if scan is not None:
            self._copy([scan[index] for index in range(min(len(scan), MAX_COPIED_LINES))])
        else:
            top = self._top
            self._copy(
                [self._rows.line(row) for row in range(top, min(len(self._rows), top + self.size.height))]
            )

    # Rows and scrolling.

    def _tick(self) -> None:
        """Show what the spool has now."""
        self._timer = None
        if self._rows.replaced:
            self.show(self._rows.spool)
            return
        self._strips.discard(self._rows.known - 1)
        self._read = (0, [])
        before = self._rows.known
        if self._rows.update():
            self.log_grew()
        self._pace_s = FLOOD_TICK_S if self._rows.known - before > self.size.height > 0 else TICK_S
        self._layout_rows()

    def widened(self) -> None:
        """Scroll as far to the right as the widest line."""
        self._layout_rows()

    def _layout_rows(self) -> None:
        self._pieces = None
        size = Size(max(1, self._width), len(self._rows))
        if (
            self.wrapped
        ):  # the last line can be the first of a page: how high the lines are nobody has counted
            size = Size(1, len(self._rows) + self.scrollable_content_region.height - 1)
        room = self.scrollable_content_region.height
        if size.width == self.virtual_size.width and min(size.height, self.virtual_size.height) > room > 0:
            # Only the scroll bar's thumb changes: a new layout would repaint the whole screen at every tick.
            self.set_reactive(LogView.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = size.height
        elif size != self.virtual_size:
            self._moving = True
            self.virtual_size = size
            self._moving = False
        if self.following:
            self._scroll_end()
        self.refresh()
        self.post_message(self.Changed())

    def _redraw(self) -> None:
        self._strips.clear()
        self._pieces = None
        self.refresh()
        self.post_message(self.Changed())

    def _by_hand(self, row: int, direction: int) -> None:
        if direction < 0:
            self.following = False
        self._scroll(row)

    def _scroll_end(self) -> None:
        self._scroll(self._top if self.wrapped else len(self._rows))

    def _scroll(self, row: int) -> None:
        page = 1 if self.wrapped else self.scrollable_content_region.height
        row = max(0, min(row, len(self._rows) - page))
        self._pieces = None
        self._moving = True
        self.scroll_to(y=row, animate=False, immediate=True, force=True)
        self._moving = False

    def _copy(self, lines: Sequence[int]) -> None:
        text = "\n".join(self._rows.texts(lines))
        fits = len(text.encode()) <= MAX_CLIPBOARD_BYTES
        if fits:
            self.app.copy_to_clipboard(text)
        self.post_message(self.Copied(text, len(lines), fits))

    def _index_head(self) -> None:
        spool = self._rows.spool
        if spool is not None and spool.head_bytes and self.is_attached:
            threading.Thread(target=self._index, args=(spool,), name="log index", daemon=True).start()

    def _index(self, spool: LogSpool) -> None:
        self.post_message(self.HeadScanned(spool, spool.scan_head(self._gone)))

    def _scanned(self) -> None:
        """Called in a search thread."""
        self.post_message(self.Scanned())
