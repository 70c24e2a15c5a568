"""What Axolotl gets, and a user's own Axolotl YAML; that it trains is seen by tests/tools/axolotl_run.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from presets import catalog
from presets.axolotl import train_settings
from presets.check_trainer import check_trainer
from presets.errors import InvalidInput
from presets.jobs import serve_job, train_job
from presets.spec import resolve

#: As many tutorials have it, keys of older releases included.
OWN = """\
base_model: codellama/CodeLlama-7b-hf
model_type: LlamaForCausalLM
load_in_8bit: true
datasets:
  - path: rows.jsonl
    type: alpaca
dataset_prepared_path:
val_set_size: 0.05
output_dir: ./lora-out
sequence_len: 4096
sample_packing: true
adapter: lora
lora_r: 32
lora_target_linear: true
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 4
optimizer: adamw_bnb_8bit
learning_rate: 0.0002
bf16: auto
fp16:
logging_steps: 1
flash_attention: true
warmup_steps: 10
evals_per_epoch: 4
saves_per_epoch: 1
eval_max_new_tokens: 128
"""


def own(tmp_path: Path, text: str = OWN) -> str:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return str(path)


def test_the_same_preset_renders_for_either_trainer() -> None:
    spec = resolve("mistral-7b-instruct-lora", ["trainer=axolotl", "liger=false"])
    settings = train_settings(spec)
    assert settings["base_model"] == "mistralai/Mistral-7B-Instruct-v0.1"
    assert (settings["adapter"], settings["lora_r"]) == ("lora", spec.lora_rank)
    assert settings["sequence_len"] == spec.cutoff_len
    assert "plugins" not in settings
    job = train_job(spec)
    assert job["environment"]["name"] == "axolotl"
    assert "remote_agent.trainers.axolotl" in job["steps"][0]["argv"]
    assert not [finding for finding in check_trainer(spec) if finding.level == "error"]


def test_its_checkpoints_are_served_by_llamafactory() -> None:
    spec = resolve("demo", ["trainer=axolotl"])
    assert serve_job(spec.to_dict(), "RUN", 4, 0)["environment"]["name"] == "llamafactory"


@pytest.mark.parametrize(
    ("sets", "key"), [(("method=freeze", "tiny_model=null"), "method"), (("liger=true",), "liger")]
)
def test_what_only_llamafactory_does_is_refused(sets: tuple[str, ...], key: str) -> None:
    with pytest.raises(InvalidInput, match=key):
        train_settings(resolve("demo", ["trainer=axolotl", *sets]))


def test_no_plugin_under_the_closed_licence_is_used() -> None:
    plugin = "trainer_args.plugins=[axolotl.integrations.liger.LigerPlugin]"
    with pytest.raises(InvalidInput, match="open licence"):
        train_settings(resolve("demo", ["trainer=axolotl", plugin]))


def test_an_own_file_is_read_and_its_old_keys_are_named(tmp_path: Path) -> None:
    spec = resolve(own(tmp_path))
    assert (spec.trainer, spec.template, spec.precision) == ("axolotl", "alpaca", "bf16")
    assert (spec.method, spec.quantization_bit, spec.lora_rank) == ("qlora", 8, 32)
    assert (spec.cutoff_len, spec.epochs, spec.eval_share) == (4096, 4, 0.05)
    findings = check_trainer(spec)
    assert {finding.where.partition(".")[2] for finding in findings if "deprecated" in finding.reason} == {
        "flash_attention",
        "eval_max_new_tokens",
    }
    assert not [finding for finding in findings if finding.level == "error"]
    settings = train_settings(spec)
    assert (settings["adapter"], settings["load_in_8bit"]) == ("lora", True)
    assert (settings["optimizer"], settings["evals_per_epoch"]) == ("adamw_bnb_8bit", 4)
    assert not settings.keys() & {"flash_attention", "eval_steps", "save_steps", "eval_strategy"}


def test_the_dataset_that_it_names_is_taken(tmp_path: Path) -> None:
    path = own(tmp_path)
    with pytest.raises(InvalidInput, match=r"rows\.jsonl is not a file here"):
        catalog.dataset(path)
    (tmp_path / "rows.jsonl").write_text("{}")
    assert catalog.dataset(path) == (tmp_path / "rows.jsonl", None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("type: alpaca", "type: chat_template", "chat template None is not known"),
        ("type: alpaca", "type: input_output", "type 'input_output'"),
        ("adapter: lora", "adapter: relora", "line 12, adapter"),
        ("sequence_len: 4096", "sequence_len: long", "line 10, sequence_len"),
        ("  - path: rows.jsonl\n    type: alpaca", "  - path: a\n  - path: b", "one dataset"),
    ],
)
def test_what_can_not_run_is_refused_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(own(tmp_path, OWN.replace(old, new)))
    assert said in str(caught.value)


@pytest.mark.parametrize("key", ["rope_scaling: {factor: 2}", "max_packed_sequence_len: 5", "lora_rr: 3"])
def test_a_key_that_stops_axolotl_is_an_error(tmp_path: Path, key: str) -> None:
    findings = check_trainer(resolve(own(tmp_path, OWN + key + "\n")))
    assert [f.where for f in findings if f.level == "error"] == [f"trainer_args.{key.partition(':')[0]}"]
