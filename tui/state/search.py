"""Find lines of a log by regular expression, in pieces small enough for the event loop to breathe between."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
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
