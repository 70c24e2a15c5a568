"""A checkpoint counts as complete only with everything that a resume or a chat would read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from remote_agent.checkpoints import in_run, what_is_missing
from remote_agent.runs import RunDirectory

PLAIN = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")
LORA = ("adapter_model.safetensors", "adapter_config.json", "optimizer.pt")


def make(path: Path, names: tuple[str, ...], *, state: bool = True) -> Path:
    path.mkdir(parents=True)
    for name in names:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(b"x" * 10)
    if state:
        (path / "trainer_state.json").write_text("{}")
    return path


def make_deepspeed(path: Path, ranks: int) -> Path:
    shards = tuple(f"global_step8/zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in range(ranks))
    make(path, ("model.safetensors", *shards))
    (path / "latest").write_text("global_step8\n")
    return path


@pytest.mark.parametrize("names", [PLAIN, LORA])
def test_a_whole_checkpoint(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert what_is_missing(make(tmp_path / "checkpoint-8", names), 1) == ""


def test_without_the_file_that_is_written_last_it_is_not_complete(tmp_path: Path) -> None:
    path = make(tmp_path / "checkpoint-8", PLAIN, state=False)
    assert "trainer_state.json" in what_is_missing(path, 1)
    (path / "trainer_state.json").write_text('{"log_history": [')
    assert "trainer_state.json" in what_is_missing(path, 1)


def test_an_interrupted_save_is_not_complete(tmp_path: Path) -> None:
    path = make(tmp_path / "checkpoint-8", (*PLAIN, "checkpoint-is-incomplete.txt"))
    assert what_is_missing(path, 1) == "saving was interrupted"


def test_every_shard_of_the_index_is_needed(tmp_path: Path) -> None:
    path = make(tmp_path / "checkpoint-8", ("model-00001-of-00002.safetensors",))
    weights = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    assert what_is_missing(path, 1) == "no model-00002-of-00002.safetensors"


def test_deepspeed_needs_the_optimizer_state_of_every_rank(tmp_path: Path) -> None:
    path = make_deepspeed(tmp_path / "checkpoint-8", ranks=2)
    assert what_is_missing(path, 2) == ""
    assert what_is_missing(path, 4) == "optimizer state of 2 of 4 ranks"
    (path / "latest").unlink()
    assert "latest" in what_is_missing(path, 2)


def test_weights_alone_are_complete_but_not_resumable(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "r1")
    make(run.output / "checkpoint-10", ("model.safetensors",))
    make(run.output / "checkpoint-9", PLAIN)
    make_deepspeed(run.output / "checkpoint-8", ranks=1)
    make(run.output / "superseded-1" / "checkpoint-99", PLAIN)
    make(run.output / "checkpoint-tmp", PLAIN)
    found = in_run(run, 1)
    assert [(item.step, item.complete, item.resumable) for item in found] == [
        (8, True, True),
        (9, True, True),
        (10, True, False),
    ]
    assert [item.id for item in found] == ["r1@8", "r1@9", "r1@10"]
    assert found[1].bytes == 42
