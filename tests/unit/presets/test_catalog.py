"""The catalogue is layers of settings, and a user's own presets build on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from presets import catalog
from presets.errors import InvalidInput
from presets.spec import resolve


def mine(folder: Path, text: str, name: str = "mine") -> tuple[Path, ...]:
    (folder / f"{name}.yaml").write_text(text)
    return (folder,)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        resolve("mine", extra_dirs=mine(folder, text))
    return str(caught.value)


def test_there_are_many_presets_and_every_method() -> None:
    specs = [resolve(name) for name in catalog.names()]
    assert len(specs) >= 40
    assert {spec.method for spec in specs} == {"full", "freeze", "lora", "qlora"}
    assert {spec.quantization_bit for spec in specs} == {None, 4, 8}
    assert {spec.stage for spec in specs} == {"sft", "pt", "dpo"}
    assert {spec.zero_stage for spec in specs} == {None, 1, 2, 3}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-3-8b-qlora8", {"lora_rank": 16, "lora_alpha": 32, "lora_dropout": 0.05, "epochs": 4.0,
                               "learning_rate": 1e-4, "warmup": 10, "quantization_bit": 8}),
        ("mistral-7b-memorise-lora", {"model": "mistralai/Mistral-7B-v0.1", "epochs": 50.0,
                                      "micro_batch": 16, "zero_stage": 3, "packing": False, "seed": 117}),
        ("mixtral-8x7b-instruct-lora", {"lora_rank": 16, "epochs": 1.0, "template": "mistral"}),
        ("pythia-1.4b-lora", {"lora_rank": 16, "lora_dropout": 0.05, "epochs": 1.0, "template": "default"}),
    ],
)  # fmt: skip
def test_the_documents_other_recipes_keep_their_values(name: str, expected: dict[str, object]) -> None:
    spec = resolve(name)
    assert {key: getattr(spec, key) for key in expected} == expected


def test_a_preset_names_what_it_is_its_method_and_its_cards() -> None:
    spec = resolve("qwen3-8b-qlora4")
    assert (spec.model, spec.method, spec.quantization_bit, spec.gpus) == ("Qwen/Qwen3-8B", "qlora", 4, 1)
    assert "Qwen3 8B" in spec.why
    assert "QLoRA-4" in spec.why
    assert "1 card of 16 GB" in spec.needs


def test_an_optimizer_step_is_sixteen_sequences_wherever_it_runs() -> None:
    batches = {
        name: spec.micro_batch * spec.gradient_accumulation * spec.gpus
        for name in catalog.names()
        if (spec := resolve(name)).packing
    }
    assert set(batches.values()) == {16}, batches


def test_a_preset_of_one_s_own_builds_on_another(tmp_path: Path) -> None:
    folders = mine(tmp_path, "base: qwen3-8b-lora\nlora_rank: 64\ntrainer_args: {optim: adafactor}\n")
    spec, base = resolve("mine", extra_dirs=folders), resolve("qwen3-8b-lora")
    assert (spec.lora_rank, spec.preset) == (64, "mine")
    assert spec.trainer_args == {"enable_thinking": False, "optim": "adafactor"}
    assert (spec.model, spec.learning_rate, spec.packing) == (base.model, base.learning_rate, base.packing)


def test_other_cards_and_methods_are_laid_over_a_preset(tmp_path: Path) -> None:
    folders = mine(tmp_path, "base: [qwen3-8b-full, methods/lora, hardware/2x80gb]\nzero_stage: null\n")
    spec = resolve("mine", extra_dirs=folders)
    assert (spec.model, spec.method, spec.gpus, spec.zero_stage) == ("Qwen/Qwen3-8B", "lora", 2, None)
    assert spec.gradient_accumulation == 8


def test_a_user_s_preset_may_build_on_ours_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text("base: demo\nmax_steps: 7\n")
    spec = resolve("demo", extra_dirs=(tmp_path,))
    assert (spec.max_steps, spec.template) == (7, "chatml")
    (tmp_path / "qwen3-8b-lora.yaml").write_text("base: qwen3-8b-lora\nlora_rank: 4\n")
    again = resolve("qwen3-8b-lora", extra_dirs=(tmp_path,))
    assert (again.lora_rank, again.model) == (4, "Qwen/Qwen3-8B")


def test_a_user_s_file_shows_where_a_bad_value_stands_also_under_a_base(tmp_path: Path) -> None:
    text = refusal(tmp_path, 'base: qwen3-8b-lora\n\nlora_rank: "64"\n')
    assert f"{tmp_path / 'mine.yaml'}, line 3, lora_rank" in text
    assert "whole number" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("base: qwen3-8b-lor\n", "qwen3-8b-lora"),
        ("base: 3\n", "line 1, base: base must be a preset's name"),
        ("base: []\n", "base must be a preset's name"),
        ("base: [qwen3-8b-lora, 4]\n", "base must be a preset's name"),
        ("base: hardware/9x9gb\n", "There is no preset 'hardware/9x9gb'"),
        ("base: ../../etc/passwd\n", "There is no preset"),
        ("base: mine\n", "There is no preset 'mine'"),
    ],
)
def test_a_bad_base_is_named(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(tmp_path, text)


def test_presets_that_build_on_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("base: mine\n")
    assert "mine -> other -> mine" in refusal(tmp_path, "base: other\n")


def test_the_list_of_presets_needs_neither_textual_nor_the_network() -> None:
    code = (
        "import sys; from presets import catalog; from presets.spec import resolve;"
        "[resolve(name) for name in catalog.names()];"
        "print([m for m in ('textual', 'httpx', 'paramiko', 'torch', 'socket') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
