"""``finetui data FILE``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from presets.dataset import DataReport, inspect, parse_mapping
from presets.spec import RunSpec
from tui.commands.output import print_json, printable
from tui.operations.plan import resolve_spec


def data(arguments: argparse.Namespace) -> int:
    """Say what a dataset is and show its first rows as the model will see them."""
    spec = resolve_spec(arguments.preset) if arguments.preset else None
    report = inspect(Path(arguments.file), parse_mapping(arguments.map))
    if arguments.json:
        print_json(_document(report, spec))
    else:
        print("\n".join(_lines(report, spec)))
    return 0


def _document(report: DataReport, spec: RunSpec | None) -> dict[str, object]:
    document = asdict(report)
    document["roles"] = dict(report.roles)
    if spec is not None:
        document["cutoff_len"] = spec.cutoff_len
        document["share_over_cutoff"] = report.lengths.share_over(spec.cutoff_len)
    return document


def _lines(report: DataReport, spec: RunSpec | None) -> list[str]:
    lengths = report.lengths
    roles = ", ".join(f"{column} = {role}" for column, role in report.roles)
    lines = [
        f"file        {printable(report.path)}",
        f"format      {report.format}, {report.layout}",
        f"columns     {printable(roles)}",
    ]
    if report.ignored:
        lines.append(f"not used    {printable(', '.join(report.ignored))}")
    lines += [
        f"rows        {report.rows} ({report.duplicates} duplicates, {report.empties} with an empty part)",
        f"tokens      about {lengths.total} in all; a row has {lengths.min} to {lengths.max}, "
        f"median {lengths.median}, 95 % under {lengths.p95}",
    ]
    if spec is not None:
        share = lengths.share_over(spec.cutoff_len)
        lines.append(
            f"cut         {share:.1%} of the rows are longer than cutoff_len {spec.cutoff_len} tokens"
        )
    for number, turns in enumerate(report.first, 1):
        lines.append(f"\nrow {number}")
        for turn in turns:
            text = "\n             ".join(printable(line) for line in turn.content.splitlines())
            lines.append(f"  {turn.role:9}  {text}")
    return lines
