"""Looks at a dataset before a GPU is paid for, and writes it in the one form that the trainers get."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from presets.columns import batches
from presets.duplicates import DuplicateCounter
from presets.layouts import Conversation, Layout, conversation, recognise
from presets.mapping import Mapping, parse_mapping
from presets.rows import file_format, read_rows

__all__ = ["DataReport", "Lengths", "Mapping", "inspect", "parse_mapping", "split", "write_rows"]

#: Rows that are shown.
FIRST_ROWS = 3
#: UTF-8 bytes of a token: English prose has 4 to 4.5, code and SQL 3 to 3.5, other scripts 3 to 4.
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Lengths:
    """Approximate tokens of a row, template included: within about a third, without a tokenizer.

    ``histogram`` pairs lengths with counts of rows.
    """

    min: int
    median: int
    p95: int
    max: int
    total: int
    histogram: tuple[tuple[int, int], ...]

    def share_over(self, tokens: int) -> float:
        """Return the share of rows longer than ``tokens``."""
        rows = sum(count for _, count in self.histogram)
        return sum(count for length, count in self.histogram if length > tokens) / rows

    def buckets(self, most: int = 12) -> tuple[tuple[int, int, int], ...]:
        """Return (shortest, longest, rows) of at most ``most`` ranges of one width, a power of two."""
        width = 1
        while self.max // width >= most:
            width *= 2
        counts: Counter[int] = Counter()
        for length, count in self.histogram:
            counts[length // width] += count
        numbers = range(min(counts), max(counts) + 1)
        return tuple((number * width, (number + 1) * width - 1, counts[number]) for number in numbers)


@dataclass(frozen=True)
class DataReport:
    """What a dataset is; ``empties`` counts rows with an empty prompt or response.

    ``duplicates`` counts rows that are copies of an earlier one, exactly or from a sample of the rows.
    """

    path: str
    format: str
    layout: str
    columns: tuple[str, ...]
    roles: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    rows: int
    duplicates: int
    duplicates_exact: bool
    empties: int
    lengths: Lengths
    first: tuple[Conversation, ...]
    is_text: bool


def inspect(path: Path, mapping: Mapping | None = None) -> DataReport:
    """Read the whole dataset once, in constant memory.

    Raises InvalidInput at the first bad row.
    """
    kind = file_format(path)
    first_rows = list(islice(read_rows(path), FIRST_ROWS))
    columns = tuple(first_rows[0].values)
    layout = recognise(path, columns, mapping)
    first = tuple(conversation(path, row, layout) for row in first_rows)
    weights: Counter[int] = Counter()
    duplicates = DuplicateCounter()
    empties = 0
    for batch in batches(path, kind, layout, first_rows[0]):
        weights.update(batch.weights)
        duplicates.add(batch.fingerprints)
        empties += batch.empties
    roles = layout.mapping.pairs
    return DataReport(
        path=str(path),
        format=kind,
        layout=layout.name,
        columns=columns,
        roles=roles,
        ignored=tuple(column for column in columns if column not in dict(roles)),
        rows=sum(weights.values()),
        duplicates=duplicates.count(),
        duplicates_exact=duplicates.is_exact,
        empties=empties,
        lengths=_summary(weights),
        first=first,
        is_text=layout.is_text,
    )


def split(rows: int, eval_share: float) -> tuple[int, int]:
    """Return how many rows are trained on and how many are kept back, as the trainer rounds them."""
    kept = math.ceil(rows * eval_share)
    return rows - kept, kept


def write_rows(path: Path, mapping: Mapping | None, out: Path) -> int:
    """Write the rows as JSONL with ``messages`` (or ``text``) and return how many.

    Raises InvalidInput at the first bad row, OSError when ``out`` can't be written.
    """
    _, _, conversations = _conversations(path, mapping)
    rows = 0
    with out.open("w", encoding="utf-8", newline="\n") as file:
        for turns in conversations:
            file.write(json.dumps(_normalised(turns), ensure_ascii=False, separators=(",", ":")) + "\n")
            rows += 1
    return rows


def _conversations(
    path: Path, mapping: Mapping | None
) -> tuple[Layout, tuple[str, ...], Iterator[Conversation]]:
    rows = read_rows(path)
    first = next(rows)
    layout = recognise(path, first.values, mapping)

    def converted() -> Iterator[Conversation]:
        yield conversation(path, first, layout)
        for row in rows:
            yield conversation(path, row, layout)

    return layout, tuple(first.values), converted()


def _normalised(turns: Conversation) -> dict[str, object]:
    if turns[0].role == "text":
        return {"text": turns[0].content}
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    if turns[-1].role == "rejected":
        *prompt, chosen, rejected = messages
        return {"messages": prompt, "chosen": chosen, "rejected": {**rejected, "role": "assistant"}}
    return {"messages": messages}


def _summary(weights: Counter[int]) -> Lengths:
    lengths: Counter[int] = Counter()
    for weight, count in weights.items():
        lengths[math.ceil(weight / _BYTES_PER_TOKEN)] += count
    histogram = tuple(sorted(lengths.items()))
    rows = sum(lengths.values())
    return Lengths(
        min=histogram[0][0],
        median=_percentile(histogram, rows, 0.5),
        p95=_percentile(histogram, rows, 0.95),
        max=histogram[-1][0],
        total=sum(length * count for length, count in histogram),
        histogram=histogram,
    )


def _percentile(histogram: tuple[tuple[int, int], ...], rows: int, share: float) -> int:
    """Return the smallest length that at least ``share`` of the rows do not exceed."""
    left = math.ceil(rows * share)
    for length, count in histogram:
        left -= count
        if left <= 0:
            return length
    return histogram[-1][0]
