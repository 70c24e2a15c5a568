"""Findings before a launch, and the estimate behind them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from presets import catalog
from presets.check import Finding, Machine, check, total_steps
from presets.dataset import DataReport, inspect
from presets.models import architecture
from presets.sizing import GIB, estimate
from presets.spec import resolve


def report(tmp_path: Path, count: int = 100, length: int = 40, **more: str) -> DataReport:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"{number} " + "a" * length, "completion": "b", **more} for number in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return inspect(path)


def report_for(stage: str, tmp_path: Path) -> DataReport:
    path = tmp_path / "rows.jsonl"
    row = {
        "pt": {"text": "once upon a time"},
        "sft": {"prompt": "a", "completion": "b"},
        "dpo": {"prompt": "a", "chosen": "b", "rejected": "c"},
    }[stage]
    path.write_text((json.dumps(row) + "\n") * 1000)
    return inspect(path)


def find(findings: tuple[Finding, ...], where: str) -> Finding:
    return next(finding for finding in findings if finding.where == where)


def cards(count: int, gib: int, name: str = "RTX 6000 Ada") -> Machine:
    return Machine(gpus=((name, gib * GIB),) * count, ram_bytes=512 * GIB, disk_free_bytes=2000 * GIB)


CPU = Machine(ram_bytes=16 * GIB, disk_free_bytes=100 * GIB, cores=2)


#: The smallest memory that a card sold with so many GB shows.
VRAM_GIB = {16: 16.0, 24: 22.5, 48: 45.0, 80: 80.0}


@pytest.mark.parametrize("name", [name for name in catalog.names() if name != "demo"])
def test_every_preset_fits_the_cards_that_it_says_it_needs(tmp_path: Path, name: str) -> None:
    spec = resolve(name)
    match = re.search(r"(\d) cards? of (\d+) GB", spec.needs)
    assert match, spec.needs
    count, size = int(match[1]), int(match[2])
    assert count == spec.gpus
    cards = (("A card", int(VRAM_GIB[size] * GIB)),) * count
    machine = Machine(gpus=cards, ram_bytes=1024 * GIB, disk_free_bytes=2000 * GIB)
    findings = check(spec, report_for(spec.stage, tmp_path), machine)
    assert [finding for finding in findings if finding.level == "error" or finding.where == "vram"] == []


def test_the_demo_fits_a_small_machine_without_a_gpu(tmp_path: Path) -> None:
    assert [f for f in check(resolve("demo"), report(tmp_path, 10_000), CPU) if f.level == "error"] == []


def test_a_7b_model_does_not_fit_a_machine_without_a_gpu(tmp_path: Path) -> None:
    finding = find(check(resolve("mistral-7b-instruct-full"), report(tmp_path), CPU), "gpus")
    assert finding.level == "error"
    assert "7.2 billion parameters" in finding.reason
    assert "GB on each of 5 GPUs" in finding.reason
    assert finding.fix


def test_too_few_or_too_small_cards_are_errors_with_numbers(tmp_path: Path) -> None:
    findings = check(resolve("mistral-7b-instruct-full"), report(tmp_path), cards(2, 24))
    assert "wants 5 GPUs and the machine has 2" in find(findings, "gpus").reason
    alone = resolve("mistral-7b-instruct-full", ["gpus=1", "offload_optimizer=false"])
    vram = find(check(alone, report(tmp_path), cards(1, 48)), "vram")
    assert vram.level == "error"
    assert "51.5 GB" in vram.reason


def test_host_memory_for_offload_and_disk_for_checkpoints_are_checked(tmp_path: Path) -> None:
    small = Machine(gpus=cards(5, 48).gpus, ram_bytes=64 * GIB, disk_free_bytes=100 * GIB)
    findings = check(resolve("mistral-7b-instruct-full"), report(tmp_path), small)
    assert find(findings, "ram").level == "error"
    assert find(findings, "disk").level == "error"
    assert "save_limit=1" in find(findings, "disk").fix


def test_an_old_card_and_bf16_do_not_go_together(tmp_path: Path) -> None:
    machine = cards(1, 32, "Tesla V100-SXM2-32GB")
    finding = find(check(resolve("mistral-7b-instruct-lora"), report(tmp_path), machine), "precision")
    assert finding.level == "error"
    assert "fp16" in finding.fix


def test_what_the_data_says(tmp_path: Path) -> None:
    data = report(tmp_path, 4, 8000, note="x")
    findings = check(resolve("demo", ["gpus=5"]), data)
    assert [finding.level for finding in findings] == ["warning", "warning", "note"]
    assert "4 rows are fewer than the 5 ranks" in findings[0].reason
    assert "100.0% of the rows are longer than cutoff_len (256 tokens)" in findings[1].reason
    assert "note" in findings[2].reason


def test_one_row_on_two_ranks_is_a_warning_because_rows_are_repeated(tmp_path: Path) -> None:
    finding = find(check(resolve("demo", ["gpus=2"]), report(tmp_path, 1)), "data")
    assert finding.level == "warning"
    assert finding.reason.startswith("1 row is fewer than the 2 ranks")


def test_a_run_that_saves_only_at_its_end_is_pointed_out(tmp_path: Path) -> None:
    spec = resolve("mistral-7b-instruct-lora", ["epochs=1"])
    finding = find(check(spec, report(tmp_path, 80)), "save_steps")
    assert "10 steps and saves every 200" in finding.reason
    assert "save_steps=5" in finding.fix


def test_a_short_run_may_warm_up_all_the_way_but_is_told(tmp_path: Path) -> None:
    findings = check(resolve("demo", ["max_steps=4", "warmup=10"]), report(tmp_path))
    assert find(findings, "warmup").level == "warning"


@pytest.mark.parametrize(
    ("sets", "rows", "steps"),
    [
        (("max_steps=7",), 5, 7),
        (("epochs=1",), 80, 10),
        (("epochs=2", "gradient_accumulation=4"), 80, 6),
        (("epochs=1", "gpus=4"), 80, 3),
        (("epochs=1", "eval_share=0.5"), 80, 5),
        (("epochs=0.5",), 80, 5),
    ],
)
def test_steps_are_counted_before_the_run(sets: tuple[str, ...], rows: int, steps: int) -> None:
    assert total_steps(resolve("mistral-7b-instruct-lora", sets), rows) == steps


@pytest.mark.parametrize(
    ("name", "billions"),
    [("mistral-7b-instruct-full", 7.24), ("codellama-7b-instruct-lora", 6.74), ("phi-2-full", 2.78)],
)
def test_parameters_are_those_that_the_models_publish(name: str, billions: float) -> None:
    arch = architecture(resolve(name))
    assert arch is not None
    assert arch.parameters / 1e9 == pytest.approx(billions, rel=0.002)


@pytest.mark.parametrize(
    ("sets", "least_gib", "most_gib"),
    [
        (("zero=2", "offload_optimizer=true"), 17, 24),
        (("zero=2", "offload_optimizer=false"), 40, 52),
        (("zero=3", "offload_optimizer=false", "micro_batch=1"), 27, 35),
        (("zero=3", "offload_optimizer=true", "offload_param=true", "micro_batch=1"), 3, 8),
    ],
)
def test_more_sharding_and_offload_need_less_vram(
    sets: tuple[str, ...], least_gib: float, most_gib: float
) -> None:
    spec = resolve("mistral-7b-instruct-full", sets)
    arch = architecture(spec)
    assert arch is not None
    need = estimate(spec, arch, 5)
    assert least_gib < need.per_gpu_bytes / GIB < most_gib
    assert need.per_gpu_bytes == sum(size for _, size in need.parts)


@pytest.mark.parametrize(
    ("preset", "data", "wanted"),
    [
        ("qwen3-8b-lora", "dpo", "stage=dpo"),
        ("qwen3-8b-lora", "pt", "stage=pt"),
        ("qwen3-8b-lora-dpo", "sft", "stage=sft"),
        ("qwen3-8b-lora-pt", "sft", "stage=sft"),
    ],
)
def test_data_for_another_stage_is_an_error_with_the_fix(
    tmp_path: Path, preset: str, data: str, wanted: str
) -> None:
    finding = find(check(resolve(preset), report_for(data, tmp_path)), "data")
    assert finding.level == "error"
    assert wanted in finding.fix


def test_pairs_are_counted_in_the_report(tmp_path: Path) -> None:
    found = report_for("dpo", tmp_path)
    assert dict(found.roles) == {"prompt": "prompt", "chosen": "response", "rejected": "rejected"}
    assert [turn.role for turn in found.first[0]] == ["user", "assistant", "rejected"]
    assert (found.rows, found.duplicates, found.empties) == (1000, 999, 0)


def test_the_disk_is_reckoned_from_the_checkpoints_that_the_run_will_write(tmp_path: Path) -> None:
    data = report(tmp_path, 400)
    machine = Machine(gpus=cards(4, 80).gpus, ram_bytes=512 * GIB, disk_free_bytes=300 * GIB)
    all_kept = ["save_limit=null", "max_steps=100"]
    once = check(resolve("qwen3-8b-full", [*all_kept, "save_steps=100"]), data, machine)
    assert [finding for finding in once if finding.where == "disk"] == []
    often = find(check(resolve("qwen3-8b-full", [*all_kept, "save_steps=10"]), data, machine), "disk")
    assert often.level == "error"
    assert "a checkpoint is 115 GB" in often.reason
