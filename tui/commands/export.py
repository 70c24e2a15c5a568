"""``finetui export RUN[@STEP]``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from tui.commands.connecting import connect
from tui.commands.output import note, print_json, printable, size
from tui.commands.progress import progress_printer
from tui.errors import InvalidInput
from tui.operations.export import export as export_checkpoint
from tui.operations.runs import resolve


def export(arguments: argparse.Namespace) -> int:
    """Export a checkpoint on its target, check it there, and push it if asked to."""
    found = resolve(arguments.run, arguments.on, connect)
    if found.step == "base":
        raise InvalidInput("the base needs no export", remedy="name a checkpoint: RUN@STEP")
    with connect(found.target) as client:
        made = export_checkpoint(
            client,
            found.run,
            found.step if isinstance(found.step, int) else None,
            merge=arguments.merge,
            push=arguments.push,
            on_status=progress_printer(note),
        )
    if arguments.json:
        print_json(asdict(made))
        return 0
    what = "merged model" if made.merged else "model or adapter as it was trained"
    print(
        f"exported {made.checkpoint}: {what}, {size(made.bytes)}, on {found.target}: {printable(made.path)}"
    )
    if made.largest_difference is not None:
        print(f"it answers as the adapter does: logits {made.largest_difference:.3%} apart at most")
    if made.pushed:
        print(f"pushed to {printable(made.pushed)}")
    note(f"copy it to this machine with: finetui pull {made.run} DIR")
    return 0
