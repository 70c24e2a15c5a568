"""A pod behind a proxy: launching, killing each role, and the invariants of the fault matrix."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

from remote_agent.documents import read_json
from remote_agent.identity import Proc, send
from remote_agent.places import Places
from remote_agent.protocol import RunStatus
from tests.fakes.agent_processes import agentd_pids
from tests.fakes.agent_runs import Runs
from tests.fakes.proxy import FaultyProxy
from tests.fakes.sshd import PrivateSshd
from tests.fakes.waiting import wait_for
from tui.operations import launch, targets
from tui.remote.agent_client import AgentClient
from tui.remote.ssh_ask import nobody_to_ask
from tui.state.run_id import new_run_id

CHATTY = str(Path(__file__).parent / "chatty_job.py")
PROC = Proc()


def chatty_spec(*arguments: str, **changes: Any) -> dict[str, Any]:
    """Return a spec whose one step logs until it is told to finish."""
    return {
        "schema": 1,
        "kind": "train",
        "preset": "fake",
        "ranks": 1,
        "steps": [{"name": "train", "argv": ["{python}", CHATTY, *arguments], "env": {}}],
        "resume": {"step": "train", "argv": []},
        "stop": {"graceful_save_s": 1, "grace_s": 0.5},
        **changes,
    }


class FaultyPod:
    """Everything that a test does to a pod and asks of it."""

    def __init__(self, sshd: PrivateSshd, proxy: FaultyProxy, places: Places, folder: Path) -> None:
        self.sshd = sshd
        self.proxy = proxy
        self.places = places
        self.target = f"{sshd.user}@127.0.0.1:{proxy.port}"
        self._folder = folder
        folder.mkdir()
        (folder / "config.yaml").write_text("learning_rate: 1e-4\n")

    def connect(self) -> AgentClient:
        return targets.connect(self.target, nobody_to_ask())

    def launch(self, spec: dict[str, Any], run: str | None = None) -> str:
        """Launch over SSH and return the run's id."""
        with self.connect() as client:
            return self.launch_with(client, spec, run).run

    def launch_with(self, client: AgentClient, spec: dict[str, Any], run: str | None = None) -> RunStatus:
        return launch.launch_folder(client, spec, self._folder, run=run or new_run_id())

    def status(self, run: str) -> RunStatus:
        return Runs(self.places).status(run)

    def folder(self, run: str) -> Path:
        return self.places.runs / run

    def wait_running(self, run: str) -> None:
        wait_for(lambda: self.status(run).state == "running", "the run to be running")

    def finish(self, run: str) -> RunStatus:
        """Let the job end and wait for it."""
        (self.folder(run) / "finish").touch()
        return Runs(self.places).ended(run)

    def agentd(self) -> int:
        """Return the pid of the one agent (I1 for agents)."""
        (pid,) = wait_for(lambda: agentd_pids(self.places), "an agent")
        return pid

    def relays(self) -> list[int]:
        """Return the pids of the relays of this pod."""
        mine = f"FINETUI_STATE_DIR={self.places.state}\0".encode()
        return [pid for pid in PROC.pids() if mine in PROC.environ(pid) and _is_relay(pid)]

    def relay(self) -> int:
        """Return the pid of the one relay, once those of earlier connections have left."""
        wait_for(lambda: len(self.relays()) == 1, "one relay")
        return self.relays()[0]

    def supervisor(self, run: str) -> int:
        return int((read_json(self.folder(run) / "proc.json") or {})["supervisor"]["pid"])

    def job(self, run: str) -> int:
        return int((read_json(self.folder(run) / "proc.json") or {})["job"]["pid"])

    def kill(self, pid: int) -> None:
        send(PROC.identify(pid), signal.SIGKILL, PROC)

    def check_job_never_noticed(self, run: str) -> None:
        """The job's heartbeat goes on ticking (I7), and there is one job (I1)."""
        beat = (self.folder(run) / "heartbeat").read_text()
        wait_for(
            lambda: (self.folder(run) / "heartbeat").read_text() not in ("", beat), "the job's heartbeat"
        )
        assert Runs(self.places).begins(run) == 1, "two jobs for one run"

    def check_nothing_left(self, run: str) -> None:
        """No process carries the run's cookie (I3)."""
        wait_for(lambda: not Runs(self.places).left(run), "all of the run's processes to be gone")

    def clean(self) -> None:
        self.proxy.resume()
        for pid in agentd_pids(self.places):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _is_relay(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"\0relay\0" in (PROC.root / str(pid) / "cmdline").read_bytes()
    return False
