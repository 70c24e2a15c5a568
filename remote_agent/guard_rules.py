"""When a guard acts and what it does: plain functions of what was set and what is seen.

All times are seconds since the guard was armed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from remote_agent.guard_config import KEEP, STOP, TERMINATE, GuardConfig

#: However late a trigger is noticed, the user has this long between the warning and the action.
FINAL_WARNING_S = 60.0
#: These end runs that are at work; the other triggers are about a pod with nothing to do.
HARD = frozenset({"deadline", "budget", "disk"})
DONE = {STOP: "stopped", TERMINATE: "terminated"}


@dataclass(frozen=True)
class Facts:
    """What is seen at one look; ``free_bytes`` is None when nobody knows it."""

    t: float
    live: tuple[str, ...] = ()
    attached: bool = False
    #: Since when nobody is connected.
    detached_since: float = 0.0
    #: Since when no run is alive and the GPUs do nothing.
    idle_since: float | None = None
    #: The run that ended last while the guard was there, its state, and when.
    ended: tuple[str, str, float] | None = None
    free_bytes: int | None = None
    low_disk_since: float | None = None
    #: Ended runs whose results are nowhere but here.
    unsafe: tuple[str, ...] = ()
    #: Whether what lies here survives a stop of the pod.
    survives_stop: bool = False


@dataclass(frozen=True)
class Plan:
    """What will be done, when and why."""

    trigger: str
    action: str
    due: float
    why: str

    @property
    def key(self) -> str:
        """Names this plan for as long as its time stays the same."""
        return f"{self.trigger}:{self.action}:{self.due:.0f}"


@dataclass(frozen=True)
class Verdict:
    """What may be done now; ``action`` is "" when nothing may, and ``why_not`` says what was left out."""

    action: str
    why_not: str = ""


def plan(config: GuardConfig, facts: Facts) -> Plan | None:
    """Return the next action, None when nothing is in sight."""
    found = [candidate for candidate in candidates(config, facts) if candidate.action != KEEP]
    return min(found, key=lambda candidate: candidate.due, default=None)


def candidates(config: GuardConfig, facts: Facts) -> Iterable[Plan]:
    """Yield what each trigger calls for, those that only warn included."""
    if config.deadline_in_s is not None:
        yield _plan(
            config, "deadline", config.deadline_in_s, f"the deadline of {_hours(config.deadline_in_s)}"
        )
    if config.budget_usd is not None and config.price_per_h:
        left_usd = config.budget_usd - config.spent_usd
        due = max(0.0, left_usd / config.price_per_h * 3600)
        yield _plan(config, "budget", due, f"the budget of ${config.budget_usd:.2f} is used up")
    if config.idle_s is not None and facts.idle_since is not None:
        why = f"no run and no GPU work for {_hours(config.idle_s)}"
        yield _plan(config, "idle", facts.idle_since + config.idle_s, why)
    if facts.ended is not None and not facts.live:
        run, state, at = facts.ended
        trigger = f"{state}_{'attached' if facts.attached else 'detached'}"
        since = at if facts.attached else max(at, facts.detached_since)
        yield _plan(config, trigger, since + config.warn_s, f"the run {run} has {state}")
    if config.min_free_bytes is not None and facts.low_disk_since is not None:
        why = f"only {(facts.free_bytes or 0) / 1e9:.1f} GB of disk are free"
        yield _plan(config, "disk", facts.low_disk_since + config.warn_s, why)


def _plan(config: GuardConfig, trigger: str, due: float, why: str) -> Plan:
    return Plan(trigger, config.action(trigger), max(due, config.not_before_s), why)


def verdict(config: GuardConfig, facts: Facts, action: str) -> Verdict:
    """Say what may be done in place of ``action``, given where the results are.

    A pod is terminated only when results are on the laptop, on a network volume, or may be lost; else it is
    stopped, where that keeps them; else nothing is done.
    """
    if config.may_be_lost or not facts.unsafe:
        return Verdict(action)
    if action == TERMINATE and config.network_volume:
        return Verdict(action)
    names = ", ".join(facts.unsafe[:5]) + (" and more" if len(facts.unsafe) > 5 else "")
    why_not = f"the results of {names} are on this pod only"
    if facts.survives_stop or config.network_volume:
        return Verdict(STOP, why_not if action != STOP else "")
    return Verdict("", why_not)


def warning(found: Plan, t: float) -> str:
    """Return the sentence that a user reads before it happens."""
    left = max(0.0, found.due - t)
    return f"{found.why}: this pod will be {DONE[found.action]} in {_hours(left)} unless you extend it"


def _hours(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
