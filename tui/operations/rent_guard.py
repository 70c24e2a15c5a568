"""Arming the guard on a pod that was just started, so that it saves and stops without the laptop."""

from __future__ import annotations

from typing import Any

from tui.clouds.base import Pod
from tui.errors import FinetuiError
from tui.operations.targets import connect
from tui.remote.ssh_ask import Ask

#: Before the pod's deadline: runs get 16 min to save and stop, then the guard stops the pod.
MARGIN_S = 1500.0
#: A disk with less than this left ends a run in the middle of a checkpoint.
MIN_FREE_BYTES = 2 * 1024**3


def guard_of(pod: Pod, terminate_after: float, now: float, idle_s: float | None) -> dict[str, Any]:
    """Return the limits for a pod; times by the wall clock, ``idle_s`` None never stops it for idling."""
    left_s = terminate_after - now
    limits: dict[str, Any] = {
        "deadline_in_s": max(0.0, left_s - min(MARGIN_S, left_s / 2)),
        "price_per_h": pod.price_per_h,
        "min_free_bytes": MIN_FREE_BYTES,
        "network_volume": bool(pod.volume),
    }
    return limits if idle_s is None else {**limits, "idle_s": idle_s}


def arm(target: str, ask: Ask, guard: dict[str, Any]) -> str:
    """Arm the guard on ``target``; return "" or why the pod may not be able to stop itself."""
    try:
        with connect(target, ask) as client:
            answer = client.request("guard.set", {"guard": guard})
    except FinetuiError as error:
        return f"{error.message}: {error.cause}" if error.cause else error.message
    return str(answer.get("checked") or "") if isinstance(answer, dict) else ""
