"""``finetui delete RUN``."""

from __future__ import annotations

import argparse

from tui.commands.connecting import connect
from tui.commands.output import print_json, size
from tui.operations.delete import delete_run
from tui.operations.runs import resolve


def delete(arguments: argparse.Namespace) -> int:
    """Delete an ended run there and what is kept of it here."""
    found = resolve(arguments.run, arguments.on, connect)
    with connect(found.target) as client:
        freed = delete_run(client, found.run)
    if arguments.json:
        print_json({"run": found.run, "freed_bytes": freed})
    else:
        print(f"deleted {found.run}, {size(freed)} freed on {found.target}")
    return 0
