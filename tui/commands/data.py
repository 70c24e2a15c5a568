"""``finetui data FILE``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from presets.dataset import DataReport, inspect, parse_mapping, split
from presets.layouts import Conversation
from presets.spec import RunSpec
from presets.templates import Part, preview
from tui.commands.output import print_json, printable
from tui.operations.plan import resolve_spec

_BAR = 40
#: Characters of a turn that are shown.
_SHOWN = 4000


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
    document["buckets"] = [
        {"from": shortest, "to": longest, "rows": rows}
        for shortest, longest, rows in report.lengths.buckets()
    ]
    if spec is not None:
        train, kept = split(report.rows, spec.eval_share)
        document["cutoff_len"] = spec.cutoff_len
        document["share_over_cutoff"] = report.lengths.share_over(spec.cutoff_len)
        document["split"] = {"train": train, "eval": kept}
        document["template"] = spec.template
        seen = [preview(spec, turns) for turns in report.first]
        document["preview"] = [None if parts is None else [asdict(part) for part in parts] for parts in seen]
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
    about = "" if report.duplicates_exact else "about "
    lines += [
        f"rows        {report.rows} ({about}{report.duplicates} duplicates, "
        f"{report.empties} with an empty part)",
        f"tokens      about {lengths.total} in all; a row has {lengths.min} to {lengths.max}, "
        f"median {lengths.median}, 95 % under {lengths.p95}",
        "            (reckoned from bytes, within a third; the model's tokenizer is on the training machine)",
        *_histogram(report),
    ]
    if spec is not None:
        lines += _judged(report, spec)
    for number, turns in enumerate(report.first, 1):
        parts = preview(spec, turns) if spec is not None else None
        if spec is not None and parts is None:
            lines.append(
                f"\nrow {number} (the template {spec.template} is the trainer's; its marks are not shown)"
            )
        else:
            lines.append(
                f"\nrow {number}" + (" as the model sees it; > marks what is trained" if parts else "")
            )
        lines += _row(turns) if parts is None else _marked(parts)
    return lines


def _judged(report: DataReport, spec: RunSpec) -> Iterable[str]:
    share = report.lengths.share_over(spec.cutoff_len)
    train, kept = split(report.rows, spec.eval_share)
    yield f"cut         {share:.1%} of the rows are longer than cutoff_len {spec.cutoff_len} tokens"
    yield f"split       {train} rows to train on, {kept} kept back to evaluate"


def _histogram(report: DataReport) -> Iterable[str]:
    buckets = report.lengths.buckets()
    most = max(rows for _, _, rows in buckets)
    ranges = [f"{shortest}-{longest}" for shortest, longest, _ in buckets]
    width = max(map(len, ranges))
    for name, (_, _, rows) in zip(ranges, buckets, strict=True):
        bar = "█" * round(_BAR * rows / most) or ("▏" if rows else "")
        yield f"            {name:>{width}} {bar} {rows}"


def _row(turns: Conversation) -> Iterable[str]:
    for turn in turns:
        text = "\n             ".join(_texts(turn.content))
        yield f"  {turn.role:9}  {text}"


def _marked(parts: Iterable[Part]) -> Iterable[str]:
    for part in parts:
        mark = "  > " if part.trained else "    "
        yield from (mark + line for line in _texts(part.text))


def _texts(text: str) -> list[str]:
    """Return the lines of a text, the rest of a long one left out; a last line break is shown as one."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ... ({len(text) - _SHOWN} more characters)"
    return [printable(line) for line in shown.split("\n")]
