"""``finetui targets``."""

from __future__ import annotations

import argparse

from tui.commands.output import print_json
from tui.operations.targets import known_targets


def targets(arguments: argparse.Namespace) -> int:
    """List the machines that finetui knows: this one, those of the settings and those of the runs."""
    names = known_targets()
    if arguments.json:
        print_json([{"target": name} for name in names])
    else:
        print("\n".join(names))
    return 0
