"""How the command line prints: JSON documents, tables, sizes, ages."""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def print_json(document: Any) -> None:
    """Print one JSON document on one line, at once."""
    print(json.dumps(document, ensure_ascii=False), flush=True)


def note(text: str) -> None:
    """Say something beside the output proper."""
    print(text, file=sys.stderr, flush=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return columns as wide as they need; the last one is not padded."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def size(count: float) -> str:
    """Return bytes for people: 1.5 MiB."""
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def duration(seconds: float) -> str:
    """Return seconds for people: 42 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    seconds = max(0, round(seconds))
    for unit_s, unit, part_s, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= unit_s:
            rest = seconds % unit_s // part_s
            return f"{seconds // unit_s} {unit}" + (f" {rest} {part}" if rest else "")
    return f"{seconds} s"


def age(at: float | None) -> str:
    """Return how long ago a moment (seconds since the epoch) was."""
    return "-" if at is None else f"{duration(time.time() - at)} ago"


def iso(at: float | None) -> str | None:
    """Return a moment as ISO-8601 in UTC, to the second."""
    if at is None:
        return None
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def printable(text: str) -> str:
    """Return text from a far machine with control characters shown, never obeyed by the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def number(value: float | None, digits: int = 4) -> str:
    """Return a number in few digits, or a dash."""
    return "-" if value is None else f"{value:.{digits}g}"
