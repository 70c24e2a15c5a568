"""Delete an ended run with everything it wrote."""

from __future__ import annotations

from tui.operations import keys
from tui.remote.agent_client import AgentClient
from tui.state.history import History


def delete_run(client: AgentClient, run: str) -> int:
    """Delete a run there and here and return the bytes freed there; raises RemoteError, Unreachable."""
    result = client.request("run.delete", {"run": run}, timeout_s=300.0)
    freed = result.get("freed_bytes") if isinstance(result, dict) else result
    History().forget(run)
    keys.forget(run)
    return freed if type(freed) is int else 0
