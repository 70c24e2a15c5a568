"""The demo's rows are real SQL over real schemas, and always the same."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from presets.demo import rows, write_dataset


def test_every_query_runs_on_its_schema() -> None:
    for row in rows():
        query = row["answer"].removeprefix("[SQL] ").removesuffix(" [/SQL]")
        assert row["answer"] == f"[SQL] {query} [/SQL]"
        with sqlite3.connect(":memory:") as database:
            database.execute(row["context"])
            database.execute(query)


def test_there_are_enough_rows_and_no_question_has_two_answers(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    write_dataset(path)

    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert written == list(rows())
    assert len({(row["question"], row["context"]) for row in written}) == len(written) >= 64
