"""The command line against the real agent on this machine, with a script in the trainer's place."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remote_agent.protocol import ENDED
from tui.operations.launch import launch_folder
from tui.operations.runs import fetch_runs
from tui.operations.stop import stop_run, wait_for_end
from tui.operations.targets import connect

TREE = str(Path(__file__).parents[2] / "fakes" / "trainer_tree.py")


@pytest.fixture(autouse=True)
def own_runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sockets and locks of this test alone, in a short path; at the end no run and no agent is left."""
    with tempfile.TemporaryDirectory(prefix="ft-") as folder:
        monkeypatch.setenv("FINETUI_RUNTIME_DIR", folder)
        yield
        if not list(Path(folder).glob("*.sock")):
            return
        with connect("local") as client:
            for status in fetch_runs(client):
                if status.state not in ENDED:
                    stop_run(client, status.run, force=True)
                    wait_for_end(client, status.run)
            client.request("agent.handover", {"build": "999.0-none"})


@pytest.fixture
def start_run(tmp_path: Path) -> Callable[..., str]:
    """Launch the fake trainer's tree; returns the run's id."""

    def start(*options: str) -> str:
        folder = tmp_path / "prepared"
        folder.mkdir(exist_ok=True)
        (folder / "settings.yaml").write_text("a: 1\n")
        job = {
            "schema": 1,
            "kind": "train",
            "preset": "fake",
            "model": "none",
            "trainer": "fake",
            "ranks": 1,
            "environment": None,
            "steps": [{"name": "train", "argv": [sys.executable, TREE, *options], "env": {}}],
            "resume": {"step": "train", "argv": ["--resume", "{checkpoint}"]},
            "config": {},
        }
        with connect("local") as client:
            return launch_folder(client, job, folder).run

    return start
