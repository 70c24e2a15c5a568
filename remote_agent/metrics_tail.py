"""The newest numbers of a run, read from the end of metrics.jsonl: long runs cost no more than short ones."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK_BYTES = 64 * 1024
#: How far back the newest loss and the newest eval_loss are looked for.
MAX_TAIL_BYTES = 1024 * 1024


def size(path: Path) -> int:
    """Return the size of a file in bytes, 0 when it is absent."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def first_begin(path: Path, offset: int) -> dict[str, Any] | None:
    """Return the ``begin`` record that opens the attempt whose lines start at ``offset``."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            head = file.read(BLOCK_BYTES)
    except OSError:
        return None
    for line in head[: head.rfind(b"\n") + 1].splitlines():
        record = parse_line(line)
        if record is not None and record.get("event") == "begin":
            return record
    return None


def newest_first(path: Path, offset: int = 0) -> Iterator[dict[str, Any]]:
    """Yield whole records from the end of the file back to ``offset``; broken lines are passed over."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        end = os.fstat(descriptor).st_size
        lowest = max(offset, end - MAX_TAIL_BYTES)
        rest = b""
        position, torn = end, True
        while position > lowest:
            start = max(lowest, position - BLOCK_BYTES)
            lines = (os.pread(descriptor, position - start, start) + rest).split(b"\n")
            position, rest = start, lines[0]
            whole = lines[1:] if position > lowest or lowest > offset else lines
            if torn:
                # What follows the last newline is not whole yet.
                whole, torn = whole[:-1], len(lines) == 1
            for line in reversed(whole):
                record = parse_line(line)
                if record is not None:
                    yield record
    finally:
        os.close(descriptor)


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return the object of one line, None for anything else."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def newest_numbers(path: Path, offset: int) -> dict[str, Any]:
    """Return the newest value of each number since ``offset``, and ``event`` of the newest record."""
    numbers: dict[str, Any] = {}
    for record in newest_first(path, offset):
        for key, value in record.items():
            if key == "step" and numbers.get("step") is not None:
                continue
            if numbers.get(key) is None:
                numbers[key] = value
        if record.get("event") == "begin":
            break
        if numbers.get("loss") is not None and numbers.get("eval_loss") is not None:
            break
    return numbers


def losses_by_step(path: Path) -> dict[int, dict[str, float]]:
    """Return {step: {"loss": .., "eval_loss": ..}} of the run as it counts now.

    A ``begin`` at step S supersedes what earlier attempts said of the steps after S.
    """
    steps: dict[int, dict[str, float]] = {}
    try:
        file = path.open("rb")
    except OSError:
        return steps
    with file:
        for line in file:
            record = parse_line(line)
            step = record.get("step") if record else None
            if record is None or type(step) is not int:
                continue
            if record.get("event") == "begin":
                steps = {known: values for known, values in steps.items() if known <= step}
            for key in ("loss", "eval_loss"):
                value = record.get(key)
                if isinstance(value, int | float):
                    steps.setdefault(step, {})[key] = float(value)
    return steps


def reached_the_end(path: Path, offset: int) -> bool:
    """Say whether training since ``offset`` said that it ended by itself."""
    newest = next(newest_first(path, offset), {})
    return newest.get("event") == "end" and newest.get("stopped") is False
