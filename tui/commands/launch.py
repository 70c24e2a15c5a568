"""``finetui launch``"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from remote_agent.protocol import RunStatus
from tui.commands.connecting import connect
from tui.commands.output import note, print_json, size
from tui.commands.progress import progress_printer, status_json
from tui.operations import launch as operation
from tui.operations.machine import describe_machine
from tui.operations.plan import Plan, make_plan, refuse_errors, with_machine, write_plan
from tui.operations.stop import failure, wait_for_end
from tui.operations.targets import parse_target
from tui.remote.transfer import OnBytes

__all__ = ["launch"]


def launch(arguments: argparse.Namespace) -> int:
    """Launch a run, or write what would be launched."""
    parse_target(arguments.on)
    data = Path(arguments.data) if arguments.data else None
    plan = make_plan(arguments.preset, data, arguments.sets, arguments.map)
    warn(plan)
    if arguments.dry_run:
        return _dry_run(plan, Path(arguments.dry_run), arguments.json)
    refuse_errors(plan)
    with connect(arguments.on) as client:
        refuse_errors(with_machine(plan, describe_machine(client)))
        status = operation.launch(client, plan, on_bytes=_upload_note())
        if arguments.json:
            print_json({"run": status.run})
        else:
            print(f"launched {status.run} on {arguments.on}", flush=True)
        if not arguments.follow:
            if not arguments.json:
                note(f"it goes on without finetui; look with: finetui status {status.run}")
            return 0
        show = (
            _json_lines(arguments.on)
            if arguments.json
            else progress_printer(lambda line: print(line, flush=True))
        )
        end = wait_for_end(client, status.run, show)
    if end.state not in ("finished", "stopped"):
        raise failure(end)
    return 0


def warn(plan: Plan) -> None:
    """Say what may go wrong, without stopping for it."""
    for finding in plan.findings:
        if finding.level == "warning":
            note(f"warning: {finding.reason}" + (f"\nfix: {finding.fix}" if finding.fix else ""))


def _dry_run(plan: Plan, folder: Path, as_json: bool) -> int:
    prepared = write_plan(plan, folder)
    if as_json:
        print_json({"folder": str(folder), "command": prepared.command, "files": list(prepared.files)})
    else:
        print(prepared.command)
        note(f"wrote {len(prepared.files)} files to {folder}; nothing was launched")
    return 0


def _upload_note() -> OnBytes:
    said = 0

    def show(done: int, total: int) -> None:
        nonlocal said
        if total > 4 * 1024 * 1024 and done * 10 // total > said:
            said = done * 10 // total
            note(f"uploaded {size(done)} of {size(total)}")

    return show


def _json_lines(target: str) -> Callable[[RunStatus], None]:
    def show(status: RunStatus) -> None:
        print_json(status_json(status, target))

    return show
