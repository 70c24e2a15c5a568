"""The agentd of one state directory, found by its environment, and its end."""

from __future__ import annotations

import contextlib
import signal

from remote_agent.identity import Proc, send
from remote_agent.places import Places
from tests.fakes.waiting import wait_for


def agentd_pids(places: Places) -> list[int]:
    """Return the pids of the agents that serve this state directory."""
    proc = Proc()
    mine = f"FINETUI_STATE_DIR={places.state}\0".encode()
    found = []
    for pid in proc.pids():
        if mine not in proc.environ(pid) or proc.identify(pid) is None:
            continue
        with contextlib.suppress(OSError):  # it may end while it is looked at
            if b"\0agentd\0" in (proc.root / str(pid) / "cmdline").read_bytes():
                found.append(pid)
    return found


def end_agentd(places: Places) -> None:
    """Kill it as the kernel would, without a chance to tidy up."""
    proc = Proc()
    for pid in agentd_pids(places):
        send(proc.identify(pid), signal.SIGKILL, proc)
    wait_for(lambda: not agentd_pids(places), "the agent to be gone")
