"""What is well and what is not on a target."""

from __future__ import annotations

from dataclasses import dataclass

from tui.errors import RemoteError
from tui.remote.agent_client import AgentClient


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``level`` is ok, warning or failure."""

    name: str
    level: str
    text: str
    remedy: str = ""


def examine(client: AgentClient) -> list[Finding]:
    """Return what the agent found on its machine; raises RemoteError, Unreachable."""
    result = client.request("health", timeout_s=60.0)
    items = result.get("findings") if isinstance(result, dict) else result
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise RemoteError("the agent's findings are malformed")
    hello = client.hello
    first = Finding("agent", "ok", f"{hello.agent}, build {hello.build}, state in {hello.state_dir}")
    return [first, *(_finding(item) for item in items)]


def _finding(item: dict[str, object]) -> Finding:
    return Finding(*(str(item.get(key) or "") for key in ("name", "level", "text", "remedy")))
