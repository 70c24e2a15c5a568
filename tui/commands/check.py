"""``finetui check PRESET --data FILE``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from tui.commands.connecting import connect
from tui.commands.output import print_json
from tui.operations.machine import describe_machine
from tui.operations.plan import make_plan, with_machine


def check(arguments: argparse.Namespace) -> int:
    """Print every problem found; exit 2 when one of them is an error."""
    data = Path(arguments.data) if arguments.data else None
    plan = make_plan(arguments.preset, data, arguments.sets, arguments.map)
    if arguments.on:
        with connect(arguments.on) as client:
            plan = with_machine(plan, describe_machine(client))
    if arguments.json:
        print_json([asdict(finding) for finding in plan.findings])
        return 2 if plan.errors else 0
    for finding in plan.findings:
        where = f" ({finding.where})" if finding.where else ""
        print(
            f"{finding.level}: {finding.reason}{where}" + (f"\n  fix: {finding.fix}" if finding.fix else "")
        )
    if not plan.findings:
        print(f"{plan.spec.preset} with {plan.report.rows} rows: no problem found")
    return 2 if plan.errors else 0
