"""``finetui metrics RUN [-f]``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from tui.commands.connecting import connect
from tui.commands.following import follow_run
from tui.commands.output import note, number, print_json, table
from tui.errors import Unreachable
from tui.operations import metrics as operation
from tui.operations.follow import Event, MetricsArrived
from tui.operations.runs import resolve

_COLUMNS = ("step", "loss", "eval_loss", "lr", "grad_norm", "tokens_per_s", "s_per_step")
_HEADINGS = ("STEP", "LOSS", "EVAL LOSS", "LR", "GRAD NORM", "TOKENS/S", "S/STEP")
_WIDTH = 10


def metrics(arguments: argparse.Namespace) -> int:
    """Print all records: one JSON array, or JSON lines with -f."""
    found = resolve(arguments.run, arguments.on, connect)
    if arguments.follow:
        return follow_run(found, _printer(arguments.json))
    code = 0
    try:
        with connect(found.target) as client:
            records = operation.read_metrics(client, found.run)
    except Unreachable as error:
        records, code = operation.read_copy(found.run), error.exit_code
        if not records:
            raise
        note(f"{error}\nthis is the copy kept here")
    if arguments.json:
        print_json(records)
    else:
        print(table(_HEADINGS, [_row(record) for record in records if _has_numbers(record)]))
    return code


def _printer(as_json: bool) -> Callable[[Event], None]:
    if not as_json:
        print("  ".join(heading.rjust(_WIDTH) for heading in _HEADINGS), flush=True)

    def show(event: Event) -> None:
        if not isinstance(event, MetricsArrived):
            return
        for record in event.records:
            if as_json:
                print_json(record)
            elif _has_numbers(record):
                print("  ".join(cell.rjust(_WIDTH) for cell in _row(record)), flush=True)

    return show


def _has_numbers(record: dict[str, Any]) -> bool:
    return record.get("event") in ("log", "eval")


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    values = (record.get(column) for column in _COLUMNS)
    return tuple(number(value) if isinstance(value, int | float) else "-" for value in values)
