"""What the pinned trainer would refuse, or do otherwise than was meant, is said before a launch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from presets import catalog
from presets.check import Machine, check
from presets.check_trainer import check_trainer
from presets.dataset import inspect
from presets.findings import Finding
from presets.sizing import GIB
from presets.spec import resolve
from presets.trainer_facts import llamafactory_facts


def found(preset: str, *sets: str) -> list[Finding]:
    return check_trainer(resolve(preset, sets))


def only(findings: list[Finding], where: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.where == where]
    return finding


@pytest.mark.parametrize("name", catalog.names())
def test_nothing_is_wrong_with_the_presets_themselves(name: str) -> None:
    assert [finding for finding in found(name) if finding.level != "note"] == []


@pytest.mark.parametrize("name", catalog.names())
def test_the_template_is_the_one_that_llamafactory_registers_for_the_model(name: str) -> None:
    spec = resolve(name)
    facts = llamafactory_facts()
    assert spec.template in facts.templates
    assert facts.model_templates.get(spec.model) in (None, spec.template)


def test_the_facts_are_those_of_the_pinned_version() -> None:
    pins = (Path(catalog.__file__).parent / "trainers/llamafactory.txt").read_text().splitlines()
    facts = llamafactory_facts()
    assert f"llamafactory=={facts.llamafactory}" in pins
    assert f"transformers=={facts.transformers}" in pins


@pytest.mark.parametrize(
    ("item", "reason", "fix"),
    [
        ("learning_rat=1", "no argument learning_rat", "learning_rate"),
        ("sample_packing=true", "no argument sample_packing", "--set packing=true"),
        ("load_in_4bit=true", "no argument load_in_4bit", "quantization_bit=4"),
        ("zzz_zzz=1", "no argument zzz_zzz", "Take it out"),
        ("tf32=1", "true or false", "true or false"),
        ('max_samples="5"', "a whole number", "a whole number"),
        ("max_samples=true", "a whole number", "a whole number"),
        ("loraplus_lr_ratio=high", "a number", "a number"),
        ("mix_strategy=random", "one of concat", "Write one"),
        ("use_adam_mini=true", "needs the package adam-mini", "Take use_adam_mini out"),
        ("use_galore=true", "GaLore does not work with DeepSpeed", "zero_stage=null"),
        ("pure_bf16=true", "ZeRO-3", "zero_stage=2"),
        ("pissa_init=true", "ZeRO-3", "zero_stage=2"),
        ("predict_with_generate=true", "ZeRO-3", "Take it out"),
        ("streaming=true", "no length", "max_steps"),
    ],
)
def test_a_raw_key_that_the_trainer_would_refuse_is_an_error_with_the_fix(
    item: str, reason: str, fix: str
) -> None:
    findings = found("codellama-7b-instruct-lora", f"trainer_args.{item}")
    (finding,) = [finding for finding in findings if reason in finding.reason]
    assert (finding.level, finding.where) == ("error", f"trainer_args.{item.partition('=')[0]}")
    assert fix in finding.fix


def test_a_raw_key_that_the_trainer_knows_is_let_through() -> None:
    assert (
        found("mistral-7b-instruct-lora", "trainer_args.optim=adafactor", "trainer_args.use_dora=true") == []
    )


def test_a_raw_key_beside_finetui_s_own_is_pointed_out() -> None:
    finding = only(found("mistral-7b-instruct-lora", "trainer_args.lora_rank=4"), "trainer_args.lora_rank")
    assert finding.level == "note"
    assert "4 there and 8 by finetui's own key" in finding.reason


def test_a_template_of_another_family_is_a_warning_and_an_unknown_one_an_error() -> None:
    other = only(found("qwen3-8b-lora", "template=llama3"), "template")
    assert other.level == "warning"
    assert "template=qwen3" in other.fix
    unknown = only(found("qwen3-8b-lora", "template=lama3"), "template")
    assert unknown.level == "error"
    assert "llama3" in unknown.fix


def test_a_model_that_nobody_knows_is_a_note_about_its_template() -> None:
    assert only(found("qwen3-8b-lora", "model=acme/own-model"), "template").level == "note"


@pytest.mark.parametrize(
    ("preset", "sets", "where", "level"),
    [
        ("mistral-7b-instruct-lora", ("flash_attn=fa2",), "flash_attn", "warning"),
        ("phi-2-lora", ("liger=true",), "liger", "warning"),
        ("qwen3-8b-lora", ("stage=dpo", "packing=false", "neat_packing=false"), "liger", "note"),
        ("gemma-3-4b-lora", ("packing=true", "neat_packing=true"), "neat_packing", "warning"),
        ("mixtral-8x7b-instruct-lora", ("lora_target=all",), "lora_target", "note"),
        (
            "mixtral-8x7b-instruct-lora",
            ("method=qlora", "quantization_bit=4", "zero_stage=2"),
            "quantization_bit",
            "error",
        ),
        ("llama-3.1-8b-instruct-lora", (), "model", "note"),
        ("qwen3-8b-full", ("learning_rate=1e-3",), "learning_rate", "warning"),
    ],
)
def test_what_would_be_otherwise_than_meant(
    preset: str, sets: tuple[str, ...], where: str, level: str
) -> None:
    finding = only(found(preset, *sets), where)
    assert finding.level == level
    assert finding.fix


@pytest.mark.parametrize("card", ["Tesla T4", "Tesla V100-SXM2-16GB", "NVIDIA GeForce RTX 2080 Ti"])
def test_cards_without_bf16_are_told_apart_by_their_capability(tmp_path: Path, card: str) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    machine = Machine(gpus=((card, 80 * GIB),), ram_bytes=64 * GIB, disk_free_bytes=500 * GIB)
    findings = check(resolve("qwen3-0.6b-lora"), inspect(rows), machine)
    assert [finding.where for finding in findings if finding.level == "error"] == ["precision"]
    half = check(resolve("qwen3-0.6b-lora", ["precision=fp16"]), inspect(rows), machine)
    assert [finding for finding in half if finding.level == "error"] == []
