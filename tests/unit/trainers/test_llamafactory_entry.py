"""What the entry changes on a machine without CUDA, and how it announces what LLaMA-Factory does."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from remote_agent.trainers.files import PhaseReport
from remote_agent.trainers.llamafactory import adapt_to_cpu, announce_loading, deepspeed_config, zero_stage


def test_without_cuda_every_change_has_its_sentence(tmp_path: Path) -> None:
    config = tmp_path / "deepspeed.json"
    config.write_text(json.dumps({"train_batch_size": "auto", "zero_optimization": {"stage": 3}}))
    asked = {"bf16": True, "fp16": False, "learning_rate": 0.1, "deepspeed": str(config)}

    adapted, changes = adapt_to_cpu(asked)

    assert adapted == {
        "bf16": False,
        "fp16": False,
        "learning_rate": 0.1,
        "use_cpu": True,
        "deepspeed": {"zero_optimization": {"stage": 3}},
    }
    assert [change.split(": ")[1].split(" ")[0] for change in changes] == [
        "use_cpu",
        "bf16",
        "train_batch_size",
    ]
    assert asked["bf16"] is True


def test_what_a_cpu_can_do_is_left_alone(tmp_path: Path) -> None:
    asked = {"use_cpu": True, "bf16": False, "learning_rate": 0.1}

    assert adapt_to_cpu(asked) == (asked, [])


def test_the_zero_stage_is_read_from_the_file(tmp_path: Path) -> None:
    config = tmp_path / "deepspeed.json"
    config.write_text(json.dumps({"zero_optimization": {"stage": 2}}))

    assert zero_stage(deepspeed_config({"deepspeed": str(config)})) == 2
    assert zero_stage(deepspeed_config({})) == 0


def test_loading_the_dataset_and_the_model_are_phases(tmp_path: Path) -> None:
    seen = []

    def phase() -> str:
        return str(json.loads((tmp_path / "phase.json").read_text())["phase"])

    workflow = SimpleNamespace(
        get_dataset=lambda name: seen.append((name, phase())),
        load_model=lambda name: seen.append((name, phase())),
    )
    announce_loading([workflow, SimpleNamespace()], PhaseReport(tmp_path))
    workflow.get_dataset("rows")
    workflow.load_model("llama")

    assert seen == [("rows", "tokenising"), ("llama", "loading")]
