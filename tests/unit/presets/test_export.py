"""What an export is told, and the card that goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from presets import demo
from presets.errors import InvalidInput
from presets.export import render_export
from presets.model_card import Outcome, model_card
from presets.render import render
from presets.spec import resolve


def training(tmp_path: Path, preset: str, *sets: str) -> dict[str, Any]:
    rows = tmp_path / "my rows.jsonl"
    demo.write_dataset(rows)
    return render(resolve(preset, sets), rows, None, tmp_path / "prepared").job


def test_a_qlora_is_merged_into_the_base_in_full_precision(tmp_path: Path) -> None:
    job = training(tmp_path, "mistral-7b-instruct-lora", "method=qlora", "quantization_bit=4")
    prepared = render_export(job, "RUN", Outcome(40), tmp_path / "export", merge=True, push=None)
    (step,) = prepared.job["steps"]
    assert "model_name_or_path=mistralai/Mistral-7B-Instruct-v0.1" in step["argv"]
    assert "adapter_name_or_path={runs}/RUN/output/checkpoint-40" in step["argv"]
    assert not any("quantization" in argument for argument in step["argv"])
    assert (prepared.job["kind"], prepared.job["parent"]) == ("export", "RUN@40")
    settings = yaml.safe_load((tmp_path / "export" / "export.yaml").read_text())
    assert settings["weight_bytes"] == pytest.approx(14.5e9, rel=0.01)


def test_the_card_names_base_data_preset_and_metrics_as_the_hub_reads_them(tmp_path: Path) -> None:
    job = training(tmp_path, "mistral-7b-instruct-lora")
    render_export(job, "RUN", Outcome(40, 0.5, 0.625), tmp_path / "export", merge=False, push="me/sql")
    text = (tmp_path / "export" / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["base_model"] == "mistralai/Mistral-7B-Instruct-v0.1"
    assert yaml.safe_load(front)["library_name"] == "peft"
    for fact in ("# sql", "my rows.jsonl, 72 rows", job["data"]["sha256"], "| 0.5 |", "| 0.625 |", "step 40"):
        assert fact in body
    assert "mistral-7b-instruct-lora" in body


def test_a_name_with_a_bar_does_not_break_the_cards_table() -> None:
    data = {"name": "a|b\n.jsonl", "rows": 1, "sha256": "0"}
    card = model_card(resolve("demo"), Outcome(1), data, adapter_only=False, title="x")
    assert "| Data | a\\|b .jsonl, 1 rows |" in card


@pytest.mark.parametrize("name", ["model", "a/b/c", "../x", "a b/c", "", "-a/b"])
def test_a_repository_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    job = training(tmp_path, "demo")
    with pytest.raises(InvalidInput, match="is not a repository"):
        render_export(job, "RUN", Outcome(1), tmp_path / "export", merge=False, push=name)
    assert not (tmp_path / "export").exists()
