"""Go on with an ended run from one of its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

from remote_agent.protocol import RunStatus
from tui.operations.runs import parse_status
from tui.remote.agent_client import AgentClient
from tui.state.history import History


def resume_run(
    client: AgentClient, run: str, step: int | None = None, secrets: Mapping[str, str] | None = None
) -> RunStatus:
    """Resume from the checkpoint at ``step``, else the newest resumable; raises RemoteError, Unreachable."""
    params = {"run": run, "step": step, "secrets": dict(secrets or {})}
    status = parse_status(client.request("run.resume", params, timeout_s=60.0))
    History().remember(client.target, status)
    return status
