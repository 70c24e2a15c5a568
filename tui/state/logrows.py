"""Which line of a log is in which row: all of them, or those that a filter lets through."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tui.state.ansi import plain
from tui.state.search import Scan, compile_pattern
from tui.state.spool import LogSpool


class LogRows:
    """A spool as it was at the last ``update``, with the find and the filter over it."""

    def __init__(self, spool: LogSpool | None = None) -> None:
        self.spool = spool
        #: Lines of the spool at the last update.
        self.known = 0
        self.find: Scan | None = None
        self.filter: Scan | None = None
        self._generation = spool.generation if spool else 0

    def __len__(self) -> int:
        return self.known if self.filter is None else len(self.filter)

    @property
    def replaced(self) -> bool:
        """True when the spool was reset: its line numbers are void."""
        return self.spool is not None and self.spool.generation != self._generation

    def line(self, row: int) -> int:
        """Return the line in a row (the nearest one)."""
        if self.filter is None or not len(self.filter):
            return row
        return self.filter[min(max(0, row), len(self.filter) - 1)]

    def row(self, line: int) -> int:
        """Return the row of a line, or where it would be."""
        return line if self.filter is None else self.filter.index(line)

    def update(self) -> bool:
        """Take in what arrived, at most one block a scan; return whether more is waiting."""
        self.known = self.spool.count if self.spool is not None else 0
        more = [scan.extend() for scan in (self.find, self.filter) if scan is not None]
        return any(more)

    def set_find(self, pattern: str, start: int, notify: Callable[[], None]) -> None:
        """Find from the line ``start`` on; empty clears. Raises InvalidInput and changes nothing."""
        self.find = self._scan(self.find, pattern, start, notify)

    def set_filter(self, pattern: str, notify: Callable[[], None]) -> None:
        """Let matching lines through only; empty clears. Raises InvalidInput and changes nothing."""
        self.filter = self._scan(self.filter, pattern, 0, notify)

    def cancel(self) -> None:
        """Stop the scans."""
        for scan in (self.find, self.filter):
            if scan is not None:
                scan.cancel()

    def texts(self, lines: Sequence[int]) -> list[str]:
        """Return the text of these lines, free of control characters."""
        if self.spool is None:
            return []
        return [plain(text) for line in lines for text in self.spool.read_lines(line, line + 1)]

    def counts(self, chosen: int | None) -> list[str]:
        """Say how many lines, filtered lines and hits there are, and which hit is chosen."""
        indexing = self.spool is not None and self.spool.head_bytes > 0
        parts = ["indexing" if indexing else f"{self.known:,} lines"]
        if self.filter is not None:
            parts.append(f"& {len(self.filter):,} match{'' if self.filter.done else '…'}")
        if self.find is not None:
            number = self.find.number(chosen)
            where = "" if number is None else f"{number:,}/"
            parts.append(f"/ {where}{len(self.find):,}{'' if self.find.done else '…'}")
        return parts

    def _scan(self, old: Scan | None, pattern: str, start: int, notify: Callable[[], None]) -> Scan | None:
        compiled = compile_pattern(pattern) if pattern else None
        if old is not None:
            old.cancel()
        if compiled is None or self.spool is None:
            return None
        scan = Scan(self.spool, compiled, start)
        scan.run_in_thread(notify)
        return scan
