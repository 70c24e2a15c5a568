"""``finetui logs RUN [-f]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tui.commands.connecting import connect
from tui.commands.following import follow_run
from tui.commands.output import duration, note
from tui.errors import Unreachable
from tui.operations.follow import Event, LogGrew
from tui.operations.logs import last_lines, read_copy, read_log
from tui.operations.runs import RunRef, resolve
from tui.operations.status import last_known
from tui.state.history import History


def logs(arguments: argparse.Namespace) -> int:
    """Print the log, or its last lines; with -f what comes, until the run ends."""
    found = resolve(arguments.run, arguments.on, connect)
    write = _write_json if arguments.json else _write_bytes
    if arguments.follow:
        return _follow(found, arguments.lines, write)
    try:
        with connect(found.target) as client:
            write(read_log(client, found.run, arguments.lines))
        return 0
    except Unreachable as error:
        copy, known = read_copy(found.run), last_known(found.run)
        if not copy:
            raise
        write([copy if arguments.lines is None else last_lines(copy, arguments.lines)])
        seen = f", seen {duration(known.age_s())} ago" if known else ""
        note(f"{error}\nthis is the copy kept here{seen}")
        return error.exit_code


def _follow(found: RunRef, lines: int | None, write: Callable[[Iterable[bytes]], None]) -> int:
    path = History().log_path(found.run)
    printed: int | None = None

    def show(event: Event) -> None:
        nonlocal printed
        if not isinstance(event, LogGrew):
            return
        if printed is None:
            copy = path.read_bytes()[: event.size] if lines is not None else b""
            printed = len(copy) - len(last_lines(copy, lines)) if lines is not None else 0
        if event.size < printed:
            printed = 0
        write([_read(path, printed, event.size)])
        printed = event.size

    return follow_run(found, show)


def _read(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


def _write_bytes(chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _write_json(chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        print(json.dumps({"log": chunk.decode("utf-8", "replace")}), flush=True)
