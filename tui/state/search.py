"""Find lines of a log by regular expression, in pieces small enough for the event loop to breathe between."""

from __future__ import annotations

import re
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tui.errors import InvalidInput
from tui.state.ansi import plain
from tui.state.spool import LogSpool


@dataclass(frozen=True)
class Found:
    """Numbers of matching lines, ascending, and the line up to which the scan came."""

    lines: list[int]
    scanned: int


def compile_pattern(text: str, *, ignore_case: bool | None = None, literal: bool = False) -> re.Pattern[str]:
    """Return the pattern that a user typed; without ``ignore_case`` a capital letter makes it exact.

    Raises InvalidInput with the place of the mistake.
    """
    if ignore_case is None:
        ignore_case = text == text.lower()
    flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
    try:
        return re.compile(re.escape(text) if literal else text, flags)
    except (re.error, OverflowError, RecursionError) as error:
        where = getattr(error, "pos", None)
        raise InvalidInput(
            f"not a regular expression: {text}",
            cause=str(error) if where is None else f"{error}, at character {where + 1}",
            remedy="put a backslash before . * + ? ( ) [ ] { } | ^ $ to find the character itself",
        ) from error


def find_lines(
    spool: LogSpool,
    pattern: re.Pattern[str],
    *,
    first: int = 0,
    stop: int | None = None,
    cancelled: threading.Event | None = None,
) -> Iterator[Found]:
    """Yield the lines first..stop-1 that match, as shown (colours and overwritten text left out).

    For a worker thread: each step takes one block of about 256 KB, because ``re`` keeps the GIL
    for a whole call (over 47 MB at once it froze the event loop for 624 ms, in blocks for 9 ms).
    """
    for line, count, text in spool.blocks(first, stop):
        if cancelled is not None and cancelled.is_set():
            return
        yield Found(match_lines(text, pattern, line), line + count)
        time.sleep(0)  # lets a waiting event loop take the GIL at once


def match_lines(text: str, pattern: re.Pattern[str], first: int) -> list[int]:
    """Return the numbers of the lines of ``text`` that match; its first line has the number ``first``."""
    if "\x1b" in text or "\t" in text:
        text = "\n".join(map(plain, text.split("\n")))
    lines: list[int] = []
    line, begin = first, 0
    match = pattern.search(text)
    while match is not None:
        line += text.count("\n", begin, match.start())
        lines.append(line)
        begin = text.find("\n", match.start()) + 1
        if begin == 0:
            break
        line += 1
        match = pattern.search(text, begin)
    return lines


class Scan:
    """A search that runs in its own thread: from ``start`` to the end, then what lies before it.

    Only that thread writes until ``done``; afterwards ``extend`` matches the lines that arrive. ``notify`` is
    called in the thread after each block and must be cheap.
    """

    def __init__(self, spool: LogSpool, pattern: re.Pattern[str], start: int = 0) -> None:
        self.pattern = pattern
        self.done = False
        self._spool = spool
        self._start = start
        self._scanned = start
        self._before = array("Q")
        self._after = array("Q")
        #: The last line while it has no newline, when it matches as it is now.
        self._open: int | None = None
        self._cancelled = threading.Event()

    def run_in_thread(self, notify: Callable[[], None]) -> None:
        """Start scanning."""
        threading.Thread(target=self._run, args=(notify,), name="log search", daemon=True).start()

    def cancel(self) -> None:
        """Stop at the next block."""
        self._cancelled.set()

    def __len__(self) -> int:
        return len(self._before) + len(self._after) + (self._open is not None)

    def __getitem__(self, index: int) -> int:
        before, after = len(self._before), len(self._after)
        if self._open is not None and index == before + after:
            return self._open
        return self._before[index] if index < before else self._after[index - before]

    def index(self, line: int) -> int:
        """Return how many hits lie before ``line``."""
        if line < self._start:
            return bisect_left(self._before, line)
        past_open = self._open is not None and line > self._open
        return len(self._before) + bisect_left(self._after, line) + past_open

    def following(self, line: int) -> int | None:
        """Return the first hit at ``line`` or later; after the last one it is the first again."""
        if not len(self):
            return None
        index = self.index(line)
        return self[index] if index < len(self) else self[0]

    def preceding(self, line: int) -> int | None:
        """Return the last hit before ``line``; before the first one it is the last."""
        if not len(self):
            return None
        return self[self.index(line) - 1 if self.index(line) > 0 else len(self) - 1]

    def number(self, line: int | None) -> int | None:
        """Return which hit ``line`` is, from 1; None when it is none."""
        if line is None:
            return None
        index = self.index(line)
        return index + 1 if index < len(self) and self[index] == line else None

    def extend(self) -> bool:
        """Match at most one block of the lines that arrived since; return whether more are waiting."""
        if not self.done:
            return False
        self._open = None
        for found in find_lines(self._spool, self.pattern, first=self._scanned, stop=self._spool.whole):
            self._scanned = found.scanned
            self._after.extend(found.lines)
            if self._scanned < self._spool.whole:
                return True
        self._match_open_line()
        return False

    def _match_open_line(self) -> None:
        line = self._spool.whole
        for text in self._spool.read_lines(line, line + 1):
            if self.pattern.search(plain(text)):
                self._open = line

    def _run(self, notify: Callable[[], None]) -> None:
        for first, stop, hits in (
            (self._start, None, self._after),
            (0, self._start, self._before),
        ):
            end = self._spool.whole if stop is None else stop
            for found in find_lines(
                self._spool, self.pattern, first=first, stop=end, cancelled=self._cancelled
            ):
                hits.extend(found.lines)
                if stop is None:
                    self._scanned = found.scanned
                notify()
        self.done = not self._cancelled.is_set()
        if self.done:
            self._match_open_line()
            notify()
