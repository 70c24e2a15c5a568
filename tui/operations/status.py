"""The status of one run, or the last one known."""

from __future__ import annotations

from remote_agent.protocol import RunStatus
from tui.operations.runs import parse_status
from tui.remote.agent_client import AgentClient
from tui.state.history import History, HistoryEntry


def get_status(client: AgentClient, run: str) -> RunStatus:
    """Ask for a run's status and remember it; raises RemoteError, Unreachable."""
    status = parse_status(client.request("run.get", {"run": run}))
    History().remember(client.target, status)
    return status


def last_known(run: str) -> HistoryEntry | None:
    """Return what this laptop remembers of a run; nothing is asked."""
    return History().get(run)
