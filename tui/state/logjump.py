"""Where in a log a step, a time of day or a line is."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from tui.errors import InvalidInput
from tui.state.spool import LogSpool

#: A progress bar (``| 264/270 [``) or ``step 264``, ``step=264``, ``'step': 264``.
_STEPS = re.compile(rb"\| *(\d+)/\d+ \[|\bstep['\"]?[ :=]+(\d+)\b")
_CLOCK = re.compile(rb"\b(\d\d:\d\d:\d\d)\b")
_TYPED = re.compile(r"(?:(?P<step>step|s)\s*)?(?P<number>\d+)$|(?P<clock>\d{1,2}:\d\d(?::\d\d)?)$")


@dataclass(frozen=True)
class Place:
    """What was asked for: one of a line (from 1), a step, a time of day as HH:MM:SS."""

    line: int | None = None
    step: int | None = None
    clock: str = ""


@dataclass(frozen=True)
class StepTime:
    """When a step was logged: seconds since the epoch, and which share of the run had passed by then."""

    wall: float
    share: float


def parse_place(text: str) -> Place:
    """Return what ``120`` (a line), ``step 120`` or ``14:05`` mean; raises InvalidInput."""
    match = _TYPED.match(text.strip().lower())
    if match is None:
        raise InvalidInput(f"not a place in a log: {text}", remedy="type step 120, 14:05 or a line number")
    if match["clock"]:
        hours, rest = match["clock"].split(":", 1)
        return Place(clock=f"{int(hours):02d}:{rest}" + (":00" if rest.count(":") == 0 else ""))
    number = int(match["number"])
    return Place(step=number) if match["step"] else Place(line=number)


def find_place(
    spool: LogSpool, place: Place, logged: StepTime | None, cancelled: threading.Event
) -> int | None:
    """Return the line of a place, None when there is none; for a worker thread, like every search.

    A step that no line names is where the lines' own times (UTC) pass the time at which it was ``logged``,
    or about where that share of the bytes lies.
    """
    if place.line is not None:
        return min(place.line, spool.count) - 1
    if place.step is not None:
        line = _line_of_step(spool, place.step, cancelled)
        if line is not None or logged is None:
            return line
        clock = datetime.fromtimestamp(logged.wall, UTC).strftime("%H:%M:%S")
        line = _line_of_clock(spool, clock, cancelled)
        return spool.line_at(int(logged.share * spool.size)) if line is None else line
    return _line_of_clock(spool, place.clock, cancelled)


def _line_of_step(spool: LogSpool, step: int, cancelled: threading.Event) -> int | None:
    """Return the line that names the step, of several the last: a resumed run repeats steps.

    A bar skips steps: without an exact one it is where the steps pass over it.
    """
    exact = passed = None
    before = -1
    for offset, block in spool.raw_blocks():
        if cancelled.is_set():
            return None
        for match in _STEPS.finditer(block):
            number = int(match[1] or match[2])
            if number == step:
                exact = offset + match.start()
            elif before < step < number:
                passed = offset + match.start()
            before = number
    found = exact if exact is not None else passed
    return None if found is None else spool.line_at(found)


def _line_of_clock(spool: LogSpool, clock: str, cancelled: threading.Event) -> int | None:
    """Return the first line at that time of day or later."""
    wanted = clock.encode()
    for offset, block in spool.raw_blocks():
        if cancelled.is_set():
            return None
        for match in _CLOCK.finditer(block):
            if match[1] >= wanted:
                return spool.line_at(offset + match.start())
    return None
