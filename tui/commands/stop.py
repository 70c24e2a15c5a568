"""``finetui stop RUN``."""

from __future__ import annotations

import argparse

from tui.commands.connecting import connect
from tui.commands.output import note, print_json
from tui.commands.progress import describe, progress_printer, status_json
from tui.operations.runs import resolve
from tui.operations.stop import stop_run, wait_for_end


def stop(arguments: argparse.Namespace) -> int:
    """Stop a run and wait until it has ended; stopping an ended run changes nothing."""
    found = resolve(arguments.run, arguments.on, connect)
    with connect(found.target) as client:
        status = stop_run(client, found.run, force=arguments.force)
        if not arguments.no_wait:
            status = wait_for_end(client, found.run, progress_printer(note))
    if arguments.json:
        print_json(status_json(status, found.target))
    else:
        print(f"{found.run}: {describe(status)}")
    return 0
