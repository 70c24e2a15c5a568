"""``finetui data``: what a person and a script read about a dataset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.command_line import finetui


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": f"question {number}", "completion": "answer " * 2000 * (number == 7)}
        for number in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))
    return path


def test_a_script_reads_the_first_rows_with_what_is_trained(rows: Path) -> None:
    report = finetui("data", str(rows), "--preset", "mistral-7b-instruct-lora", "--json").json
    assert (report["rows"], report["duplicates"], report["empties"]) == (41, 1, 40)
    assert report["duplicates_exact"] is True
    assert sum(bucket["rows"] for bucket in report["buckets"]) == 41
    assert report["split"] == {"train": 41, "eval": 0}
    assert report["share_over_cutoff"] == pytest.approx(1 / 41)
    asked, answered = report["preview"][0]
    assert asked == {"text": "<s>[INST] question 0[/INST]", "trained": False}
    assert answered["trained"] is True


def test_a_person_sees_the_same(rows: Path) -> None:
    shown = finetui("data", str(rows), "--preset", "mistral-7b-instruct-lora").out
    assert "    <s>[INST] question 0[/INST]\n  > " in shown
    assert "41 rows to train on" in shown
    assert "█ 40\n" in shown
    assert "2.4% of the rows are longer than cutoff_len" in shown


def test_without_a_preset_nothing_is_said_about_templates(rows: Path) -> None:
    shown = finetui("data", str(rows)).out
    assert "user       question 0" in shown
    assert "[INST]" not in shown
