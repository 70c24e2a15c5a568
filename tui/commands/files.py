"""``finetui files TARGET [PATH]``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from tui.commands.connecting import connect
from tui.commands.output import age, note, print_json, printable, size, table
from tui.errors import InvalidInput
from tui.operations.files import download_file, list_files


def files(arguments: argparse.Namespace) -> int:
    """List a folder, or save a file."""
    if arguments.save and not arguments.path:
        raise InvalidInput("--save needs the PATH of a file", remedy="finetui files TARGET PATH --save FILE")
    with connect(arguments.target) as client:
        if arguments.save:
            count = download_file(client, arguments.path, Path(arguments.save))
            note(f"saved {size(count)} to {arguments.save}")
            return 0
        entries = list_files(client, arguments.path)
    if arguments.json:
        print_json([asdict(entry) for entry in entries])
        return 0
    rows = [
        (
            printable(entry.name) + ("/" if entry.kind == "dir" else ""),
            "-" if entry.kind == "dir" else size(entry.bytes),
            age(entry.modified),
        )
        for entry in entries
    ]
    print(table(("NAME", "SIZE", "CHANGED"), rows))
    return 0
