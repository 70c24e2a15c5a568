"""``finetui checkpoints RUN``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from tui.commands.connecting import connect
from tui.commands.output import age, note, number, print_json, printable, size, table
from tui.operations.checkpoints import drop_optimizers, list_checkpoints
from tui.operations.runs import resolve


def checkpoints(arguments: argparse.Namespace) -> int:
    """List a run's checkpoints by step; with ``--drop-optimizer`` after making some of them smaller."""
    found = resolve(arguments.run, arguments.on, connect)
    with connect(found.target) as client:
        if arguments.steps:
            freed = drop_optimizers(client, found.run, arguments.steps)
            note(f"freed {size(freed)}; these can be served and exported, and not be resumed any more")
        listed = list_checkpoints(client, found.run)
    if arguments.json:
        print_json([asdict(checkpoint) for checkpoint in listed])
    elif listed:
        rows = [
            (
                f"{found.run}@{item.step}",
                size(item.bytes),
                "yes" if item.complete else f"no: {printable(item.missing)}",
                "yes" if item.resumable else "no",
                number(item.loss),
                age(item.modified),
                printable(item.path),
            )
            for item in listed
        ]
        print(table(("CHECKPOINT", "SIZE", "COMPLETE", "RESUMABLE", "LOSS", "WRITTEN", "PATH"), rows))
    else:
        note("no checkpoint yet")
    return 0
