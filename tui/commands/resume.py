"""``finetui resume RUN[@STEP]``."""

from __future__ import annotations

import argparse

from tui.commands.connecting import connect
from tui.commands.output import note, print_json
from tui.errors import InvalidInput
from tui.operations.resume import resume_run
from tui.operations.runs import resolve


def resume(arguments: argparse.Namespace) -> int:
    """Go on from a checkpoint and return as soon as the run lives again."""
    found = resolve(arguments.run, arguments.on, connect)
    if found.step == "base":
        raise InvalidInput("a run can't be resumed from its base", remedy="launch it again instead")
    with connect(found.target) as client:
        status = resume_run(client, found.run, found.step if isinstance(found.step, int) else None)
    if arguments.json:
        print_json({"run": status.run, "state": status.state})
    else:
        print(f"{status.run}: {status.state}")
        note(f"look with: finetui logs {status.run} -f")
    return 0
