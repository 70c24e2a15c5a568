"""What is well and what is not on a target."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from remote_agent.protocol import PROTOCOL_VERSION
from tui.errors import RemoteError
from tui.remote.agent_client import AgentClient

#: More than this between two clocks makes an age on the screen misleading.
_SKEW_LIMIT_S = 5.0


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
    return [first, _clock_skew(client), *(_finding(item) for item in items)]


def _clock_skew(client: AgentClient, clock: Callable[[], float] = time.time) -> Finding:
    """Compare the target's clock with ours; what the network adds can't be told from a difference."""
    asked = clock()
    result = client.request("hello", {"client": "finetui", "proto": [PROTOCOL_VERSION, PROTOCOL_VERSION]})
    answered = clock()
    now = result.get("now") if isinstance(result, dict) else None
    if not isinstance(now, int | float):
        raise RemoteError("the agent's answer to hello is malformed")
    skew_s = now - (asked + answered) / 2
    if abs(skew_s) <= _SKEW_LIMIT_S + (answered - asked):
        return Finding("clock skew", "ok", f"{skew_s:+.1f} s against this machine")
    return Finding(
        "clock skew",
        "warning",
        f"{skew_s:+.0f} s against this machine",
        "ages on the screen are wrong by that much: set both clocks (durations and timeouts don't use them)",
    )


def _finding(item: dict[str, object]) -> Finding:
    return Finding(*(str(item.get(key) or "") for key in ("name", "level", "text", "remedy")))
