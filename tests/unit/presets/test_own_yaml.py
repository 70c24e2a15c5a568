"""A LLaMA-Factory YAML of the user's own runs as it is, or is refused with the line and the fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from presets import catalog
from presets.check_trainer import check_trainer
from presets.errors import InvalidInput
from presets.render import render
from presets.spec import RunSpec, resolve

#: The shape of LLaMA-Factory's own examples.
EXAMPLE = """\
### model
model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct

### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all

### dataset
dataset: identity,alpaca_en_demo
template: llama3
cutoff_len: 2048
max_samples: 1000
dataloader_num_workers: 4

### output
output_dir: saves/llama3-8b/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
report_to: none  # choices: [none, wandb, tensorboard, swanlab, mlflow]

### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
"""
#: These are finetui's: where things lie, and what makes metrics and checkpoints work.
OURS = {
    "dataset", "dataset_dir", "output_dir", "overwrite_output_dir", "plot_loss", "resume_from_checkpoint",
    "warmup_ratio",
}  # fmt: skip


def own(folder: Path, extra: str = "", text: str = EXAMPLE, *sets: str) -> RunSpec:
    (folder / "my.yaml").write_text(text + extra)
    return resolve(str(folder / "my.yaml"), sets)


def rendered(folder: Path, spec: RunSpec) -> dict[str, Any]:
    rows = folder / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    result = render(spec, rows, None, folder / "prepared")
    keys: dict[str, Any] = yaml.safe_load((result.folder / "llamafactory.yaml").read_text())
    return keys


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        own(folder, text=text)
    assert caught.value.remedy
    return str(caught.value)


def test_every_key_of_the_file_reaches_the_trainer_with_its_value(tmp_path: Path) -> None:
    keys = rendered(tmp_path, own(tmp_path))
    written = yaml.safe_load(EXAMPLE)
    assert {key: keys.get(key) for key in written.keys() - OURS} == {
        key: value for key, value in written.items() if key not in OURS
    }
    assert keys["warmup_steps"] == 0.1
    assert keys["dataset"] == "train"
    assert keys["output_dir"] == "output"


def test_what_the_file_leaves_out_is_llamafactory_s_default_and_not_ours(tmp_path: Path) -> None:
    text = "model_name_or_path: a/b\nfinetuning_type: lora\ntemplate: llama3\n"
    keys = rendered(tmp_path, own(tmp_path, text=text))
    assert keys["per_device_train_batch_size"] == 8
    assert keys["learning_rate"] == 5e-5
    assert keys["lr_scheduler_type"] == "linear"
    assert keys["warmup_steps"] == 0
    assert (keys["bf16"], keys["fp16"]) == (False, False)
    assert "save_total_limit" not in keys


def test_it_is_a_run_like_any_other(tmp_path: Path) -> None:
    spec = own(tmp_path, "", EXAMPLE, "gpus=2", "lora_rank=32")
    assert (spec.preset, spec.gpus, spec.lora_rank, spec.method) == ("my", 2, 32, "lora")
    assert [finding for finding in check_trainer(spec) if finding.level != "note"] == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("quantization_bit: 4\n", {"method": "qlora", "quantization_bit": 4}),
        ("max_steps: 7\n", {"max_steps": 7}),
        ("max_steps: -1\n", {"max_steps": None}),
        ("val_size: 0.1\n", {"eval_share": 0.1}),
        ("val_size: 100\n", {"eval_share": 0.0, "trainer_args": {"val_size": 100}}),
        ("disable_gradient_checkpointing: true\n", {"gradient_checkpointing": False}),
        ("enable_liger_kernel: true\npacking: true\n", {"liger": True, "packing": True}),
        ("report_to: wandb\n", {"report_to": "none", "trainer_args": {"report_to": "wandb"}}),
        ("deepspeed: examples/deepspeed/ds_z2_config.json\n", {"zero_stage": 2, "offload_optimizer": False}),
        (
            "deepspeed: examples/deepspeed/ds_z3_offload_config.json\n",
            {"zero_stage": 3, "offload_optimizer": True, "offload_param": True, "launcher": "deepspeed"},
        ),
        (
            "deepspeed: {zero_optimization: {stage: 1, offload_optimizer: {device: cpu}}}\n",
            {"zero_stage": 1, "offload_optimizer": True, "offload_param": False},
        ),
    ],
)
def test_its_keys_are_read_as_ours(tmp_path: Path, lines: str, expected: dict[str, Any]) -> None:
    raw = ("max_samples", "dataloader_num_workers", "ddp_timeout", "report_to")
    text = "".join(line for line in EXAMPLE.splitlines(True) if not line.startswith(raw))
    spec = own(tmp_path, text=text + lines)
    assert {key: getattr(spec, key) for key in expected} == expected


def test_a_deepspeed_file_beside_it_is_read(tmp_path: Path) -> None:
    config = {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}}
    (tmp_path / "mine.json").write_text(json.dumps(config))
    spec = own(tmp_path, "deepspeed: mine.json\n")
    assert (spec.zero_stage, spec.offload_optimizer, spec.offload_param) == (3, True, False)
    (tmp_path / "mine.json").write_text("{broken")
    assert "can't be read as JSON" in refusal(tmp_path, EXAMPLE + "deepspeed: mine.json\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EXAMPLE.replace("template: llama3\n", ""), "names no template"),
        (EXAMPLE.replace("stage: sft", "stage: ppo"), "line 5, stage"),
        (EXAMPLE.replace("finetuning_type: lora", "finetuning_type: oft"), "line 7, finetuning_type"),
        (EXAMPLE.replace("learning_rate: 1.0e-4", "learning_rate: fast"), "line 29, learning_rate"),
        (EXAMPLE.replace("cutoff_len: 2048", "cutoff_len: -5"), "line 14, cutoff_len"),
        (EXAMPLE.replace("cutoff_len: 2048", 'cutoff_len: "2048"'), "without quotes"),
        (EXAMPLE.replace("meta-llama/Meta-Llama-3-8B-Instruct", "/data/llama"), "not a model id"),
        (EXAMPLE + "cutoff_len: 4096\n", "is there twice"),
        (EXAMPLE + "quantization_bit: 4\nquantization_method: hqq\n", "only bitsandbytes"),
        (EXAMPLE + "quantization_bit: 4\ndeepspeed: ds_z3_config.json\n", "QLoRA does not work with ZeRO-3"),
        (EXAMPLE + "deepspeed: mine.json\n", "does not say a ZeRO stage"),
        (EXAMPLE + "eval_dataset: other\n", "val_size"),
        ("base_model: a/b\ndatasets: [{path: x}]\nadapter: lora\n", "rows of the type None"),
    ],
)
def test_what_can_not_run_is_refused_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(tmp_path, text)


def test_a_key_that_llamafactory_does_not_know_is_found_by_check(tmp_path: Path) -> None:
    (finding,) = [f for f in check_trainer(own(tmp_path, "lora_ranks: 4\n")) if f.level == "error"]
    assert finding.where == "trainer_args.lora_ranks"
    assert "lora_rank" in finding.fix


def test_code_from_the_model_s_repository_is_warned_of(tmp_path: Path) -> None:
    (finding,) = [
        f for f in check_trainer(own(tmp_path, "trust_remote_code: true\n")) if f.level == "warning"
    ]
    assert finding.where == "trainer_args.trust_remote_code"


def test_a_preset_file_may_also_be_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: qwen3-8b-lora\nlora_rank: 4\n")
    spec = resolve(str(tmp_path / "mine.yaml"))
    assert (spec.preset, spec.model, spec.lora_rank) == ("mine", "Qwen/Qwen3-8B", 4)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"There is no file .*missing\.yaml"):
        resolve(str(tmp_path / "missing.yaml"))


def place_data(folder: Path, entry: dict[str, Any]) -> None:
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data/mine.json").write_text(
        json.dumps([{"q": "a", "a": "b", "instruction": "x", "output": "y"}])
    )
    (folder / "data/dataset_info.json").write_text(json.dumps({"identity": entry}))


def test_without_data_it_is_the_dataset_that_the_file_names(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(EXAMPLE.replace("identity,alpaca_en_demo", "identity"))
    place_data(tmp_path, {"file_name": "mine.json", "columns": {"prompt": "q", "response": "a"}})
    file, mapping = catalog.dataset(str(tmp_path / "my.yaml"))
    assert file == tmp_path / "data/mine.json"
    assert str(mapping) == "q=prompt,a=response"
    place_data(tmp_path, {"file_name": "mine.json"})
    assert catalog.dataset(str(tmp_path / "my.yaml")) == (file, None)


@pytest.mark.parametrize(
    ("dataset", "entry", "expected"),
    [
        ("identity,alpaca_en_demo", {"file_name": "mine.json"}, "several datasets"),
        ("identity", {"hf_hub_url": "a/b"}, "not a local file"),
        ("identity", {"file_name": "gone.json"}, "there is no file"),
        ("other", {"file_name": "mine.json"}, "It has: identity"),
    ],
)
def test_a_dataset_that_can_not_be_taken_along_is_named(
    tmp_path: Path, dataset: str, entry: dict[str, Any], expected: str
) -> None:
    (tmp_path / "my.yaml").write_text(EXAMPLE.replace("identity,alpaca_en_demo", dataset))
    place_data(tmp_path, entry)
    with pytest.raises(InvalidInput) as caught:
        catalog.dataset(str(tmp_path / "my.yaml"))
    assert expected in str(caught.value)
    assert "--data" in caught.value.remedy


def test_a_preset_names_no_dataset() -> None:
    with pytest.raises(InvalidInput, match="names no dataset"):
        catalog.dataset("demo")
