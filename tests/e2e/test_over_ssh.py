"""The whole job on a pod: the command line, a real sshd behind a line that is cut, the real trainer, chat."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from presets import demo
from remote_agent.places import Places
from tests.fakes.agent_runs import Runs
from tests.fakes.pod import pod_places
from tests.fakes.proxy import FaultyProxy
from tests.fakes.sshd import Laptop, PrivateSshd
from tests.fakes.waiting import wait_for

pytestmark = [pytest.mark.trainer, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def places(tmp_path: Path, trainer_python: Path, environments_dir: Path) -> Iterator[Places]:
    with pod_places(tmp_path / "pod-state", environments_dir) as places:
        yield places


@pytest.fixture
def pod(tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    laptop = Laptop(tmp_path / "laptop", monkeypatch)
    sshd = PrivateSshd(tmp_path / "pod", env=places.as_environment())
    sshd.authorize(laptop.key)
    with sshd, FaultyProxy(sshd.port) as proxy:
        laptop.know(sshd, port=proxy.port)
        laptop.configure("Host pod", f"  HostName 127.0.0.1\n  Port {proxy.port}\n  User {sshd.user}")
        yield proxy


def finetui(*arguments: str, timeout_s: float = 600) -> Any:
    """Run the installed command with --json and return its document."""
    command = [str(Path(sys.executable).parent / "finetui"), *arguments, "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{arguments} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_launch_follow_chat_and_pull_over_a_line_that_is_cut(
    pod: FaultyProxy, places: Places, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    demo.write_dataset(rows)
    run = finetui("launch", "demo", "--data", str(rows), "--on", "pod")["run"]

    log = tmp_path / "followed.log"
    with log.open("wb") as output:
        follower = subprocess.Popen(
            [str(Path(sys.executable).parent / "finetui"), "logs", run, "-f"], stdout=output
        )
    for _ in range(3):
        size = log.stat().st_size
        wait_for(lambda size=size: log.stat().st_size > size, "the log to go on", 300.0)
        pod.cut()
    assert follower.wait(600) == 0
    status = finetui("status", run)
    assert status["state"] == "finished"
    assert status["target"] == "pod"
    assert status["step"] == status["total"]
    spool = tmp_path / "laptop" / "finetui" / "data" / "history" / run / "log"
    assert spool.read_bytes() == (places.runs / run / "log").read_bytes()

    question = json.loads(rows.read_text().splitlines()[7])
    start = time.monotonic()
    reply = finetui("chat", run, "-m", f"{question['question']}\n{question['context']}")
    assert reply["reply"] == question["answer"]
    assert reply["ttft_s"] <= time.monotonic() - start

    newest = max(finetui("checkpoints", run), key=lambda item: item["step"])
    finetui("pull", f"{run}@{newest['step']}", str(tmp_path / "pulled"))
    for path in Path(newest["path"]).rglob("*"):
        if path.is_file():
            (copy,) = (tmp_path / "pulled").rglob(path.name)
            assert copy.read_bytes() == path.read_bytes()
    wait_for(lambda: not Runs(places).left(run), "all of the run's processes to be gone")
