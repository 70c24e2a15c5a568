"""The prepared folder: whole or absent, relative, and saying what the preset says."""

from __future__ import annotations

import errno
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from presets import catalog, demo
from presets import render as render_module
from presets.dataset import parse_mapping
from presets.errors import FinetuiError, InvalidInput
from presets.jobs import serve_job
from presets.render import Prepared, render, render_serve
from presets.spec import resolve

#: Placeholders of "The job spec" in docs/ARCHITECTURE.md.
PLACEHOLDERS = {
    "python", "bin", "prepared", "output", "run", "runs", "port", "checkpoint", "threads",
    "accelerators_flag",
}  # fmt: skip


PAIR = '{"prompt": "Say hello.", "chosen": "Hello!", "rejected": "Go away."}\n'


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "my rows.jsonl"
    demo.write_dataset(path)
    return path


def prepared(rows: Path, name: str, *sets: str) -> tuple[Prepared, dict[str, Any]]:
    folder = rows.parent / "a folder" / name
    spec = resolve(name, sets)
    if spec.stage == "pt":
        rows.write_text('{"text": "once upon a time"}\n')
    if spec.stage == "dpo":
        rows.write_text(PAIR)
    result = render(spec, rows, None, folder)
    return result, yaml.safe_load((folder / "llamafactory.yaml").read_text())


@pytest.mark.parametrize("name", catalog.names())
def test_every_preset_renders_a_folder_that_stands_alone(rows: Path, name: str) -> None:
    result, keys = prepared(rows, name)
    spec = resolve(name)
    assert keys["per_device_train_batch_size"] == spec.micro_batch
    assert keys["learning_rate"] == spec.learning_rate
    assert keys["template"] == spec.template
    assert keys["eval_strategy"] == "no"
    assert keys["dataset_dir"] == "data"
    assert ("deepspeed" in keys) == (spec.zero_stage is not None)
    written = [keys["deepspeed"]] if "deepspeed" in keys else []
    for name_in_folder in (*written, "data/dataset_info.json", "data/train.jsonl", "command.sh"):
        assert name_in_folder in result.files
    for file in result.files:
        assert str(rows.parent) not in (result.folder / file).read_text()
    assert result.rows == len(rows.read_text().splitlines())


@pytest.mark.parametrize("name", catalog.names())
def test_a_job_is_json_and_uses_only_the_placeholders_of_the_contract(rows: Path, name: str) -> None:
    job = json.loads(json.dumps(prepared(rows, name)[0].job))
    text = json.dumps([job["steps"], job["resume"]])
    assert set(re.findall(r"\{(\w+)\}", text)) <= PLACEHOLDERS
    assert "llamafactory==" in job["environment"]["pins"]
    assert "deepspeed==" in job["environment"]["late_pins"]
    spec = resolve(name)
    assert ("bitsandbytes==" in job["environment"]["pins"]) == (spec.method == "qlora")
    assert ("liger-kernel==" in job["environment"]["pins"]) == spec.liger
    assert job["config"]["preset"] == name
    assert str(rows.parent) not in json.dumps(job)


def test_the_deepspeed_command_names_its_ranks_and_a_free_port(rows: Path) -> None:
    result, _ = prepared(rows, "mistral-7b-instruct-full")
    assert result.job["steps"][-1]["argv"][:8] == [
        "{bin}/deepspeed", "--no_local_rank", "{accelerators_flag}", "5",
        "--master_addr", "127.0.0.1", "--master_port", "{port}",
    ]  # fmt: skip
    assert shlex.split(result.command)[:4] == ["deepspeed", "--no_local_rank", "--num_gpus", "5"]
    assert result.job["ranks"] == 5


def test_torchrun_keeps_a_log_of_each_rank(rows: Path) -> None:
    result, _ = prepared(rows, "demo", "launcher=torchrun", "gpus=2")
    argv = result.job["steps"][-1]["argv"]
    assert argv[:3] == ["{bin}/torchrun", "--nproc_per_node", "2"]
    assert argv[argv.index("--log-dir") + 1] == "{run}/ranks"


@pytest.mark.parametrize(
    ("sets", "stage", "offloaded"),
    [
        (("zero=0",), 0, set()),
        (("zero=1", "offload_optimizer=true"), 1, {"offload_optimizer"}),
        (("zero=2",), 2, set()),
        (("zero=2", "offload_optimizer=true"), 2, {"offload_optimizer"}),
        (("zero=3",), 3, set()),
        (("zero=3", "offload_optimizer=true"), 3, {"offload_optimizer"}),
        (("zero=3", "offload_param=true"), 3, {"offload_param"}),
        (
            ("zero=3", "offload_param=true", "offload_optimizer=true"),
            3,
            {"offload_param", "offload_optimizer"},
        ),
    ],
)  # fmt: skip
def test_the_deepspeed_file_has_the_stage_and_the_offload(
    rows: Path, sets: tuple[str, ...], stage: int, offloaded: set[str]
) -> None:
    result, _ = prepared(rows, "phi-2-full", *sets)
    config = json.loads((result.folder / "deepspeed.json").read_text())
    zero = config["zero_optimization"]
    assert zero["stage"] == stage
    assert {key for key in zero if key.startswith("offload_")} == offloaded
    assert zero.get("overlap_comm", False) is False
    assert "train_batch_size" not in config


def test_without_zero_there_is_no_deepspeed_file(rows: Path) -> None:
    result, keys = prepared(rows, "demo", "zero_stage=null", "launcher=torchrun")
    assert "deepspeed" not in keys
    assert "deepspeed.json" not in result.files


def test_overrides_reach_the_yaml_and_raw_keys_win(rows: Path) -> None:
    sets = ("max_steps=7", "eval_share=0.25", "packing=true", "trainer_args.optim=adafactor")
    _, keys = prepared(rows, "demo", *sets)
    assert (keys["max_steps"], keys["val_size"], keys["packing"], keys["optim"]) == (
        7,
        0.25,
        True,
        "adafactor",
    )
    assert "num_train_epochs" not in keys
    _, keys = prepared(rows, "codellama-7b-instruct-lora", "trainer_args.lora_rank=4", "epochs=2")
    assert (keys["lora_rank"], keys["num_train_epochs"], keys["finetuning_type"]) == (4, 2, "lora")


def test_a_quantised_run_is_lora_on_a_quantised_base(rows: Path) -> None:
    _, keys = prepared(rows, "mistral-7b-instruct-lora", "method=qlora", "quantization_bit=4")
    assert (keys["finetuning_type"], keys["quantization_bit"]) == ("lora", 4)


def test_what_shapes_the_prompt_in_training_shapes_it_in_chat(tmp_path: Path) -> None:
    render_serve(resolve("qwen3-8b-lora").to_dict(), "R", 5, 900, tmp_path / "serve")
    keys = yaml.safe_load((tmp_path / "serve/serve.yaml").read_text())
    assert (keys["template"], keys["enable_thinking"]) == ("qwen3", False)


def test_a_full_folder_is_left_as_it_is(rows: Path, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "mine").write_text("x")
    with pytest.raises(InvalidInput, match="not an empty folder"):
        render(resolve("demo"), rows, None, folder)
    assert [item.name for item in folder.iterdir()] == ["mine"]
    (folder / "mine").unlink()
    assert render(resolve("demo"), rows, None, folder).rows > 0


def test_a_bad_last_row_leaves_nothing_behind(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n' * 50 + '{"prompt": "a"}\n')
    with pytest.raises(InvalidInput, match="row 51"):
        render(resolve("demo"), rows, None, tmp_path / "out")
    assert [item.name for item in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(render_module, "write_rows", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FinetuiError) as caught:
        render(resolve("demo"), rows, None, tmp_path / "out")
    assert "No space is left" in caught.value.message
    assert caught.value.remedy
    assert caught.value.exit_code == 1
    assert sorted(tmp_path.iterdir()) == before


def test_text_and_conversations_go_with_their_stages(rows: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text('{"text": "once upon a time"}\n')
    with pytest.raises(InvalidInput, match="plain text"):
        render(resolve("demo"), text, None, tmp_path / "out")
    with pytest.raises(InvalidInput, match="conversations"):
        render(resolve("demo", ["stage=pt"]), rows, None, tmp_path / "out")
    result = render(resolve("demo", ["stage=pt"]), text, None, tmp_path / "out")
    info = json.loads((result.folder / "data/dataset_info.json").read_text())
    assert info["train"]["columns"] == {"prompt": "text"}


def test_pairs_are_written_as_the_trainer_reads_them(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="conversations, and the stage is dpo"):
        render(resolve("qwen3-8b-lora-dpo"), rows, None, tmp_path / "out")
    rows.write_text(PAIR)
    with pytest.raises(InvalidInput, match="pairs of a chosen and a rejected answer, and the stage is sft"):
        render(resolve("demo"), rows, None, tmp_path / "out")
    result = render(resolve("qwen3-8b-lora-dpo"), rows, None, tmp_path / "out")
    assert json.loads((result.folder / "data/train.jsonl").read_text()) == {
        "messages": [{"role": "user", "content": "Say hello."}],
        "chosen": {"role": "assistant", "content": "Hello!"},
        "rejected": {"role": "assistant", "content": "Go away."},
    }
    info = json.loads((result.folder / "data/dataset_info.json").read_text())["train"]
    assert info["ranking"] is True
    keys = yaml.safe_load((result.folder / "llamafactory.yaml").read_text())
    assert (keys["stage"], keys["pref_beta"], keys["pref_loss"]) == ("dpo", 0.1, "sigmoid")


def test_pairs_in_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("q,good,bad\nSay hello.,Hello!,Go away.\n")
    mapping = parse_mapping("q=prompt,good=response,bad=rejected")
    result = render(resolve("qwen3-8b-lora-dpo"), rows, mapping, tmp_path / "out")
    assert '"rejected":{"role":"assistant"' in (result.folder / "data/train.jsonl").read_text()


def test_a_map_reaches_the_dataset(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("q,schema,sql\nhow many?,t,SELECT 1\n")
    mapping = parse_mapping("q=prompt,schema=input,sql=response")
    result = render(resolve("demo"), rows, mapping, tmp_path / "out")
    (line,) = (result.folder / "data/train.jsonl").read_text().splitlines()
    assert json.loads(line)["messages"][0] == {"role": "user", "content": "how many?\nt"}


@pytest.mark.parametrize(
    ("name", "step", "expected"),
    [
        ("demo", 80, {"model_name_or_path={runs}/R/output/checkpoint-80", "template=chatml"}),
        ("demo", None, {"model_name_or_path={runs}/R/prepared/model", "template=chatml"}),
        (
            "codellama-7b-instruct-lora",
            5,
            {
                "model_name_or_path=codellama/CodeLlama-7b-Instruct-hf",
                "adapter_name_or_path={runs}/R/output/checkpoint-5",
                "finetuning_type=lora",
                "template=llama2",
            },
        ),
        (
            "codellama-7b-instruct-lora",
            None,
            {"model_name_or_path=codellama/CodeLlama-7b-Instruct-hf", "template=llama2"},
        ),
    ],
)
def test_a_server_gets_the_weights_and_the_template_of_its_run(
    tmp_path: Path, name: str, step: int | None, expected: set[str]
) -> None:
    config = resolve(name).to_dict()
    result = render_serve(config, "R", step, 900, tmp_path / "serve")
    assert result.job == serve_job(config, "R", step, 900)
    (serve,) = result.job["steps"]
    assert set(serve["argv"][4:]) == expected
    assert serve["env"] == {"API_PORT": "{port}", "FINETUI_IDLE_S": "900"}
    assert result.job["parent"] == f"R@{step or 'base'}"
    assert result.files == ("serve.yaml",)
