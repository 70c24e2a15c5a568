"""Looks at a dataset before a GPU is paid for, and writes it in the one form that the trainers get."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from presets.errors import InvalidInput
from presets.layouts import Conversation, Layout, conversation, recognise
from presets.mapping import Mapping, parse_mapping
from presets.rows import file_format, read_rows

__all__ = ["DataReport", "Lengths", "Mapping", "approximate_tokens", "inspect", "parse_mapping", "write_rows"]

#: Rows whose fingerprints are kept to find duplicates: bounds the memory (about 30 MB).
MAX_COMPARED_ROWS = 250_000
_FIRST_ROWS = 3
#: Role marks and line breaks that a chat template puts around a turn.
_TOKENS_PER_TURN = 4
#: UTF-8 bytes of a token: English prose has 4 to 4.5, code and SQL 3 to 3.5, other scripts 3 to 4.
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Lengths:
    """Approximate tokens of a row, template included; ``histogram`` pairs lengths with counts of rows."""

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


@dataclass(frozen=True)
class DataReport:
    """What a dataset is; ``empties`` counts rows with an empty prompt or response.

    ``compared_rows`` is how many rows from the first were looked at for duplicates.
    """

    path: str
    format: str
    layout: str
    columns: tuple[str, ...]
    roles: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    rows: int
    duplicates: int
    compared_rows: int
    empties: int
    lengths: Lengths
    first: tuple[Conversation, ...]
    is_text: bool


def approximate_tokens(turns: Conversation) -> int:
    """Estimate the tokens of a conversation from its bytes: within about a third, without a tokenizer."""
    size = sum(len(turn.content.encode()) for turn in turns)
    return math.ceil(size / _BYTES_PER_TOKEN) + _TOKENS_PER_TURN * len(turns)


def inspect(path: Path, mapping: Mapping | None = None) -> DataReport:
    """Read the whole dataset once, in constant memory unless it is a JSON array.

    Raises InvalidInput at the first bad row.
    """
    kind = file_format(path)
    layout, columns, conversations = _conversations(path, mapping)
    seen: set[bytes] = set()
    lengths: Counter[int] = Counter()
    first: list[Conversation] = []
    rows = duplicates = empties = 0
    for turns in conversations:
        rows += 1
        lengths[approximate_tokens(turns)] += 1
        empties += any(not turn.content.strip() for turn in turns)
        if rows <= _FIRST_ROWS:
            first.append(turns)
        if rows <= MAX_COMPARED_ROWS:
            fingerprint = hashlib.blake2b(repr(turns).encode(), digest_size=8).digest()
            duplicates += fingerprint in seen
            seen.add(fingerprint)
    roles = layout.mapping.pairs
    return DataReport(
        path=str(path),
        format=kind,
        layout=layout.name,
        columns=columns,
        roles=roles,
        ignored=tuple(column for column in columns if column not in dict(roles)),
        rows=rows,
        duplicates=duplicates,
        compared_rows=min(rows, MAX_COMPARED_ROWS),
        empties=empties,
        lengths=_summary(lengths),
        first=tuple(first),
        is_text=layout.is_text,
    )


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
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in turns]}


def _summary(lengths: Counter[int]) -> Lengths:
    histogram = tuple(sorted(lengths.items()))
    rows = sum(lengths.values())
    if not rows:
        raise InvalidInput("The dataset has no rows.", remedy="Give a file with at least one row.")
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
