"""``finetui doctor TARGET``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from tui.commands.connecting import connect
from tui.commands.output import print_json, printable
from tui.operations.doctor import examine


def doctor(arguments: argparse.Namespace) -> int:
    """Print what was found, one line each; exit 1 when something fails."""
    with connect(arguments.target) as client:
        findings = examine(client)
    if arguments.json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{finding.level:8}  {printable(finding.name):12}  {printable(finding.text)}")
            if finding.remedy and finding.level != "ok":
                print(f"{'':8}  {'':12}  fix: {printable(finding.remedy)}")
    return 1 if any(finding.level == "failure" for finding in findings) else 0
