"""What a guard watches for and what it does then; as set by the laptop and stored in guard.json."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from remote_agent.documents import read_json, write_json
from remote_agent.errors import AgentError
from remote_agent.moments import Moment
from remote_agent.places import Places
from remote_agent.pod_control import PodControl
from remote_agent.protocol import INVALID_PARAMS

KEEP, STOP, TERMINATE = "keep", "stop", "terminate"
ACTIONS = (KEEP, STOP, TERMINATE)
#: A limit that is reached, and the four ways in which the last run of a pod can end.
TRIGGERS = (
    "idle",
    "deadline",
    "budget",
    "disk",
    "finished_attached",
    "finished_detached",
    "failed_attached",
    "failed_detached",
)
#: A limit without an action named stops the pod: the GPU is billed no more, the volume stays.
DEFAULT_ACTIONS = {"idle": STOP, "deadline": STOP, "budget": STOP}
WARN_S = 300.0


@dataclass(frozen=True)
class GuardConfig:
    """Limits (None: not watched), the action of each trigger, and what is known about the results.

    Times in seconds from ``armed``, dollars in US dollars; ``not_before_s`` is how far the user has put any
    action off.
    """

    id: str
    armed: Moment
    #: The pod that it was armed on, "" for a machine that is none: a network volume outlives its pod.
    pod: str = ""
    idle_s: float | None = None
    deadline_in_s: float | None = None
    budget_usd: float | None = None
    price_per_h: float | None = None
    spent_usd: float = 0.0
    min_free_bytes: int | None = None
    volume_bytes: int | None = None
    actions: Mapping[str, str] = field(default_factory=dict)
    warn_s: float = WARN_S
    may_be_lost: bool = False
    network_volume: bool = False
    not_before_s: float = 0.0

    def action(self, trigger: str) -> str:
        """Return what is done when ``trigger`` happens."""
        return self.actions.get(trigger, DEFAULT_ACTIONS.get(trigger, KEEP))

    @property
    def watches_nothing(self) -> bool:
        """Whether there is nothing to guard."""
        return not any(self._limits().values()) and not self.acts

    @property
    def acts(self) -> bool:
        """Whether it may ever stop or terminate the pod."""
        watched = self._limits()
        return any(self.action(trigger) != KEEP for trigger in TRIGGERS if watched.get(trigger, True))

    def _limits(self) -> dict[str, bool]:
        """Return which limits are watched; the end of a run always is."""
        return {
            "idle": self.idle_s is not None,
            "deadline": self.deadline_in_s is not None,
            "budget": self.budget_usd is not None,
            "disk": self.min_free_bytes is not None,
        }

    def spent_at(self, since_armed_s: float) -> float | None:
        """Return the dollars spent so far; None when no price is known."""
        if self.price_per_h is None:
            return None
        return self.spent_usd + self.price_per_h * since_armed_s / 3600

    def extended(self, until_s: float) -> GuardConfig:
        """Return it with every action put off until then."""
        return replace(self, not_before_s=max(self.not_before_s, until_s))

    def to_json(self) -> dict[str, Any]:
        """Return it as stored and sent; it holds no secret."""
        return {
            **{name: getattr(self, name) for name in (*_NUMBERS, "id", "pod")},
            **{name: getattr(self, name) for name in ("spent_usd", "warn_s", "not_before_s")},
            "min_free_bytes": self.min_free_bytes,
            "volume_bytes": self.volume_bytes,
            "may_be_lost": self.may_be_lost,
            "network_volume": self.network_volume,
            "armed": self.armed.to_json(),
            "actions": {trigger: self.action(trigger) for trigger in TRIGGERS},
        }


_NUMBERS = ("idle_s", "deadline_in_s", "budget_usd", "price_per_h")


def parse(params: Mapping[str, Any], armed: Moment, pod: str) -> GuardConfig:
    """Check what the laptop sent; raises AgentError (INVALID_PARAMS) that names the key which is wrong."""
    numbers = {name: _number(params, name) for name in _NUMBERS}
    if numbers["budget_usd"] is not None and not numbers["price_per_h"]:
        raise _invalid("price_per_h", "is needed to watch a budget")
    actions = params.get("actions") or {}
    if not isinstance(actions, dict):
        raise _invalid("actions", "is not an object")
    for trigger, action in actions.items():
        if trigger not in TRIGGERS:
            raise _invalid(f"actions.{str(trigger)[:40]}", f"is none of {', '.join(TRIGGERS)}")
        if action not in ACTIONS:
            raise _invalid(f"actions.{trigger}", f"is none of {', '.join(ACTIONS)}")
    warn_s, spent = _number(params, "warn_s"), _number(params, "spent_usd")
    return GuardConfig(
        id=secrets.token_hex(8),
        armed=armed,
        pod=pod,
        idle_s=numbers["idle_s"],
        deadline_in_s=numbers["deadline_in_s"],
        budget_usd=numbers["budget_usd"],
        price_per_h=numbers["price_per_h"],
        spent_usd=spent or 0.0,
        min_free_bytes=_count(params, "min_free_bytes"),
        volume_bytes=_count(params, "volume_bytes"),
        actions=dict(actions),
        warn_s=WARN_S if warn_s is None else warn_s,
        may_be_lost=params.get("may_be_lost") is True,
        network_volume=params.get("network_volume") is True,
    )


def load(places: Places) -> GuardConfig | None:
    """Return the armed guard, None when there is none for this pod."""
    document = read_json(places.guard_config)
    armed = Moment.from_json((document or {}).get("armed"))
    pod = PodControl.from_environment(os.environ).pod
    if document is None or armed is None or document.get("pod") != pod:
        return None
    try:
        config = parse(document, armed, pod)
    except AgentError:
        return None  # written by a build that knows more
    not_before = document.get("not_before_s")
    return replace(
        config,
        id=str(document.get("id")),
        not_before_s=float(not_before) if isinstance(not_before, int | float) else 0.0,
    )


def store(places: Places, config: GuardConfig) -> None:
    """Write guard.json; raises OSError."""
    write_json(places.guard_config, config.to_json())


def _number(params: Mapping[str, Any], key: str) -> float | None:
    value = params.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise _invalid(key, "is not a number from 0 on")
    return float(value)


def _count(params: Mapping[str, Any], key: str) -> int | None:
    value = params.get(key)
    if value is not None and (type(value) is not int or value < 0):
        raise _invalid(key, "is not a count of bytes")
    return value


def _invalid(key: str, why: str) -> AgentError:
    return AgentError(INVALID_PARAMS, f"the guard can't be set: {key} {why}")
