"""GPU memory that a run leaves held is named with its pid; NCCL is told of cards without peer-to-peer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_agent import health
from tests.fakes.agent_runs import Runs, tree_spec
from tests.fakes.nvidia_smi import FakeGpus


@pytest.fixture
def stranger() -> Iterator[int]:
    """The pid of a process that belongs to no run."""
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    process.kill()
    process.wait()


def shell(script: str) -> dict[str, object]:
    return tree_spec(steps=[{"name": "train", "argv": ["/bin/sh", "-c", script]}])


def test_memory_still_held_after_the_end_is_reported_with_its_pid(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: int
) -> None:
    fake = FakeGpus(tmp_path / "gpus", "NVIDIA H200")
    fake.use(monkeypatch)
    monkeypatch.setattr("remote_agent.gpu_processes.RELEASE_LIMIT_S", 0.0)
    runs.launch("r1", shell(f"echo 'GPU-0, {stranger}, 20480' > {fake.apps}"))
    status = runs.ended("r1")
    assert status.state == "finished"
    assert status.message == f"GPU memory is still held: 20.0 GiB of GPU 0 by pid {stranger} (sleep)"
    (found,) = [item for item in health.findings(runs.places) if item.name == "gpu memory"]
    assert found.level == "warning"
    assert f"pid {stranger}" in found.text
    assert f"kill -9 {stranger}" in found.remedy


def test_memory_that_others_held_before_is_not_blamed_on_the_run(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: int
) -> None:
    fake = FakeGpus(tmp_path / "gpus", "NVIDIA H200")
    fake.apps.write_text(f"GPU-0, {stranger}, 20480\n")
    fake.use(monkeypatch)
    runs.launch("r1", shell("true"))
    assert runs.ended("r1").message == ""


@pytest.mark.parametrize(
    ("card", "told"),
    [("NVIDIA GeForce RTX 4090", True), ("NVIDIA GeForce RTX 3090", True), ("NVIDIA H200", False)],
)
def test_nccl_is_told_of_cards_without_peer_to_peer_and_the_log_says_so(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: str, told: bool
) -> None:
    FakeGpus(tmp_path / "gpus", card, card).use(monkeypatch)
    monkeypatch.delenv("NCCL_P2P_DISABLE", raising=False)
    runs.launch("r1", shell('echo "P2P=$NCCL_P2P_DISABLE IB=$NCCL_IB_DISABLE"'))
    runs.ended("r1")
    assert ("P2P=1 IB=1" in runs.log("r1")) == told
    assert (f"finetui: {card} has no peer-to-peer" in runs.log("r1")) == told
