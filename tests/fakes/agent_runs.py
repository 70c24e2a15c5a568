"""Runs of the fake trainer under the real supervisor, and what a test asks about them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remote_agent import lifecycle
from remote_agent.documents import read_json
from remote_agent.identity import Proc
from remote_agent.places import Places
from remote_agent.protocol import ENDED, RunStatus
from remote_agent.runs import RunDirectory, lock_held, run_directory
from remote_agent.status import run_status
from remote_agent.sweep import carriers, kill_all
from tests.fakes.waiting import wait_for

TREE = str(Path(__file__).parent / "trainer_tree.py")
REPOSITORY = Path(__file__).parents[2]
PROC = Proc()


def tree_spec(*arguments: str, **changes: Any) -> dict[str, Any]:
    """Return a spec whose one step is the fake trainer."""
    return {
        "schema": 1,
        "kind": "train",
        "preset": "fake",
        "ranks": 1,
        "steps": [{"name": "train", "argv": ["{python}", TREE, *arguments], "env": {}}],
        "resume": {"step": "train", "argv": ["--resume", "{checkpoint}"]},
        "stop": {"graceful_save_s": 20, "grace_s": 0.3},
        **changes,
    }


class Runs:
    """Launches runs in one state directory and makes sure that nothing of them is left."""

    def __init__(self, places: Places) -> None:
        self.places = places
        places.create()

    def launch(self, run: str, spec: Mapping[str, Any], **more: Any) -> RunStatus:
        arguments = {"spec_sha": "sha", "files": {}, "secrets": {}, **more}
        return lifecycle.launch(self.places, run, spec, **arguments)

    def launch_in_process(self, run: str, spec: Mapping[str, Any], failpoint: str) -> int:
        """Launch from another process; it or its supervisor dies at the failpoint. Return its code."""
        code = (
            "import json, os, sys\n"
            "from remote_agent import lifecycle\n"
            "from remote_agent.errors import AgentError\n"
            "from remote_agent.places import Places\n"
            "places = Places.from_environment(os.environ)\n"
            "try:\n"
            "    lifecycle.launch(places, sys.argv[1], json.loads(sys.argv[2]), 'sha', {}, {})\n"
            "except AgentError as error:\n"
            "    sys.exit(3)\n"
        )
        environment = {**os.environ, **self.places.as_environment(), "FINETUI_FAILPOINT": failpoint}
        return subprocess.run(
            [sys.executable, "-c", code, run, json.dumps(spec)],
            env=environment, cwd=REPOSITORY, check=False, timeout=60,
        ).returncode  # fmt: skip

    def directory(self, run: str) -> RunDirectory:
        return run_directory(self.places, run)

    def status(self, run: str) -> RunStatus:
        return run_status(self.places, self.directory(run), PROC)

    def wait(self, run: str, *states: str) -> RunStatus:
        """Wait for one of ``states``; a run that ended in another way fails at once."""

        def look() -> RunStatus | None:
            status = self.status(run)
            if status.state in states:
                return status
            assert status.state not in ENDED, f"{status.state}: {status.message}\n{self.log(run)}"
            return None

        return wait_for(look, f"{run} to be {' or '.join(states)}")

    def ended(self, run: str) -> RunStatus:
        """Wait for any end, and for the supervisor to be gone."""
        found = wait_for(lambda: self._ended(run), f"{run} to end")
        self.wait_unsupervised(run)
        return found

    def wait_unsupervised(self, run: str) -> None:
        wait_for(lambda: not lock_held(self.places.run_lock(run)), f"the supervisor of {run} to be gone")

    def wait_ready(self, run: str) -> None:
        """Wait until the tree has forked all of its processes."""
        wait_for((self.directory(run).path / "tree-ready").exists, "the tree to stand")

    def _ended(self, run: str) -> RunStatus | None:
        status = self.status(run)
        return status if status.state in ENDED else None

    def log(self, run: str) -> str:
        return self.directory(run).log.read_text(errors="replace")

    def record(self, run: str) -> dict[str, Any]:
        return read_json(self.directory(run).proc) or {}

    def left(self, run: str) -> list[int]:
        """Return the pids that carry the run's cookie."""
        cookie = self.record(run).get("cookie")
        return [found.pid for found in carriers(PROC, cookie)] if cookie else []

    def begins(self, run: str) -> int:
        """Return how often a trainer has begun: more than once is two jobs."""
        metrics = self.directory(run).metrics
        return metrics.read_text().count('"begin"') if metrics.exists() else 0

    def clean(self) -> None:
        for path in self.places.runs.iterdir():
            cookie = (read_json(path / "proc.json") or {}).get("cookie")
            supervisor = (read_json(path / "proc.json") or {}).get("supervisor") or {}
            if not cookie:
                continue
            if (path / "exit.json").exists() is False and supervisor:
                lifecycle.stop(self.places, path.name, force=True)
                wait_for(lambda path=path: (path / "exit.json").exists(), f"{path.name} to be cleaned up")
            kill_all(PROC, lambda cookie=cookie: carriers(PROC, cookie), lambda: None)
