"""Dropping optimizer states frees what a resume needs and nothing else, and only where that is safe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from remote_agent.checkpoints import in_run
from remote_agent.errors import AgentError
from remote_agent.identity import Proc
from remote_agent.places import Places
from remote_agent.retention import delete_checkpoints, drop_optimizers
from remote_agent.runs import RunDirectory
from remote_agent.supervise import boottime_s

RUN = "01J00000000000000000000000"
BLOCK = b"x" * 40_000


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / "state", tmp_path / "runtime", tmp_path / "environments")
    places.create()
    return places


@pytest.fixture
def run(places: Places) -> RunDirectory:
    """A run of two ranks that has ended."""
    directory = RunDirectory(places.runs / RUN)
    directory.output.mkdir(parents=True)
    steps = [{"name": "train", "argv": ["true"]}]
    directory.spec.write_text(
        json.dumps({"schema": 1, "kind": "train", "ranks": 2, "steps": steps, "run": RUN})
    )
    directory.exit.write_text(json.dumps({"state": "finished", "code": 0}))
    return directory


def checkpoint(run: RunDirectory, step: int, *names: str) -> Path:
    path = run.output / f"checkpoint-{step}"
    for name in ("model.safetensors", "tokenizer.json", *names):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(BLOCK)
    (path / "trainer_state.json").write_text("{}")
    return path


def deepspeed(run: RunDirectory, step: int) -> Path:
    shards = [f"global_step{step}/zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in range(2)]
    path = checkpoint(run, step, "zero_to_fp32.py", "rng_state_0.pth", *shards)
    (path / "latest").write_text(f"global_step{step}\n")
    return path


def test_weights_stay_and_the_rest_goes(places: Places, run: RunDirectory) -> None:
    old, plain, _ = (
        deepspeed(run, 10),
        checkpoint(run, 20, "optimizer.pt", "scheduler.pt"),
        deepspeed(run, 30),
    )
    before = {item.step: item.bytes for item in in_run(run, 2)}
    freed = drop_optimizers(places, RUN, [10, 20])
    after = {item.step: item for item in in_run(run, 2)}
    kept = {"model.safetensors", "tokenizer.json", "trainer_state.json"}
    assert {path.name for path in old.iterdir()} == {path.name for path in plain.iterdir()} == kept
    assert [(item.complete, item.resumable) for item in after.values()] == [
        (True, False),
        (True, False),
        (True, True),
    ]
    lost = sum(before[step] - after[step].bytes for step in (10, 20))
    assert lost <= freed <= lost + 100_000  # whole blocks of the disk
    assert drop_optimizers(places, RUN, [10]) == 0


def test_one_that_was_cut_in_the_middle_is_finished_when_asked_again(
    places: Places, run: RunDirectory
) -> None:
    old = deepspeed(run, 10)
    deepspeed(run, 30)
    (old / "latest").unlink()
    assert [item.complete for item in in_run(run, 2)] == [False, True]
    assert drop_optimizers(places, RUN, [10]) > 0
    assert [item.complete for item in in_run(run, 2)] == [True, True]


@pytest.mark.parametrize(
    ("steps", "said"),
    [([10, 30], "is the newest"), ([10, 99], "no checkpoint at step 99"), ([10, 40], "not whole")],
)
def test_nothing_is_removed_when_one_of_them_may_not(
    places: Places, run: RunDirectory, steps: list[int], said: str
) -> None:
    old = deepspeed(run, 10)
    deepspeed(run, 30)
    (checkpoint(run, 40) / "trainer_state.json").unlink()
    with pytest.raises(AgentError, match=said):
        drop_optimizers(places, RUN, steps)
    assert (old / "latest").exists()


def test_a_run_that_has_not_ended_is_left_alone(places: Places, run: RunDirectory) -> None:
    old = deepspeed(run, 10)
    deepspeed(run, 30)
    run.exit.unlink()
    spec = json.loads(run.spec.read_text())
    run.spec.write_text(json.dumps({**spec, "boot": Proc().boot(), "created_boottime_s": boottime_s()}))
    with pytest.raises(AgentError, match="has not ended"):
        delete_checkpoints(places, RUN, [10])
    with pytest.raises(AgentError, match="has not ended"):
        drop_optimizers(places, RUN, [10])
    assert (old / "latest").exists()


def test_a_checkpoint_is_deleted_whole_and_only_once(places: Places, run: RunDirectory) -> None:
    old, new = deepspeed(run, 10), deepspeed(run, 20)
    assert delete_checkpoints(places, RUN, [10]) >= len(BLOCK)
    assert not old.exists()
    assert new.exists()
    assert list(places.trash.iterdir()) == []
    assert delete_checkpoints(places, RUN, [10]) == 0, "a lost reply is asked for again"
