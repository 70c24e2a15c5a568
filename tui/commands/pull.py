"""``finetui pull RUN[@STEP] DIR``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tui.commands.output import note, print_json, size
from tui.errors import InvalidInput
from tui.operations import pull as operation
from tui.operations.runs import resolve
from tui.operations.targets import connect

_SAY_EVERY_S = 2.0


def pull(arguments: argparse.Namespace) -> int:
    """Copy a checkpoint to this machine."""
    found = resolve(arguments.run, arguments.on)
    if found.step == "base":
        raise InvalidInput("the base can't be pulled", remedy="name a checkpoint: RUN@STEP")
    said = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _SAY_EVERY_S:
            said = time.monotonic()
            note(f"{size(done)} of {size(total)}")

    step = found.step if isinstance(found.step, int) else None
    with connect(found.target) as client:
        folder = operation.pull(client, found.run, step, Path(arguments.folder), show)
    if arguments.json:
        print_json({"path": str(folder)})
    else:
        print(folder)
    return 0
