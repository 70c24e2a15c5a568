"""The role that watches money and disk while the laptop sleeps, and stops or terminates this pod.

A process of its own, nobody's child: it outlives agentd, and agentd starts it again when it is gone. It ends
when no guard is armed. It reads guard.json, writes guard-status.json, and logs what it does in guard.jsonl.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from remote_agent import guard_config, guard_rules, lifecycle, moments, program
from remote_agent.documents import append_record, read_json, write_json
from remote_agent.errors import AgentError
from remote_agent.guard_config import DEFAULT_ACTIONS, KEEP, STOP, TERMINATE, GuardConfig
from remote_agent.guard_facts import Memory, Observer
from remote_agent.guard_rules import FINAL_WARNING_S, Facts, Plan
from remote_agent.identity import Proc
from remote_agent.moments import Moment
from remote_agent.places import Places
from remote_agent.pod_control import PodControl, PodError
from remote_agent.runs import RunDirectory, take_lock
from remote_agent.watch import RunsScan

TICK_S = 5.0
#: A run that is asked to save and stop has this long, then it is forced: DeepSpeed writes 100 GB in minutes.
STOP_RUNS_LIMIT_S = 960.0
#: Between tries when RunPod does not answer or refuses.
RETRY_S = (30.0, 60.0, 120.0, 300.0)
#: RunPod took the request, and the pod is still there after this long: ask again.
STILL_HERE_S = 600.0
KEPT_NOTICES = 20


@dataclass
class State:
    """What guard-status.json holds beside the plan; times in seconds since the guard was armed."""

    warned: dict[str, float] = field(default_factory=dict)
    notices: list[dict[str, Any]] = field(default_factory=list)
    #: Runs that were asked to stop and when, and those that were forced.
    asked: dict[str, float] = field(default_factory=dict)
    forced: list[str] = field(default_factory=list)
    tries: int = 0
    retry_at: float = 0.0
    stop_refused: bool = False
    #: {action, why, boot}: RunPod took the request.
    acted: dict[str, Any] | None = None
    blocked: str = ""


class Guard:
    """One armed guard; ``tick`` looks once and does what is due."""

    def __init__(
        self,
        places: Places,
        config: GuardConfig,
        *,
        control: Callable[[], PodControl],
        observer: Observer | None = None,
        now: Callable[[], Moment] = moments.now,
    ) -> None:
        self._places = places
        self._config = config
        self._control = control
        self._now = now
        self._observer = observer or Observer(places, RunsScan(places))
        self._state = State()
        self._boot = Proc().boot()
        self._seen: dict[str, Any] = {}
        self._saved: dict[str, Any] | None = None
        self._restore()

    def tick(self) -> bool:
        """Look once and act; False when this guard has nothing to do any more."""
        config = guard_config.load(self._places)
        if config is None:
            return False
        if config.id != self._config.id:
            self._state = State(notices=self._state.notices)
            self._observer.memory = Memory()
        self._config = config
        if self._was_spent():
            return False
        t = self._now().since(config.armed)
        facts = self._observer.look(config, t)
        found = guard_rules.plan(config, facts)
        self._warn(facts, found)
        if found is not None and self._is_due(found, t):
            self._carry_out(found, self._observer.with_safety(facts))
        elif found is None or found.due > t:
            self._state.blocked, self._state.asked, self._state.forced = "", {}, []
        self._save(facts, found)
        return True

    def _is_due(self, found: Plan, t: float) -> bool:
        warned = self._state.warned.get(found.key)
        grace = min(self._config.warn_s, FINAL_WARNING_S)
        return t >= found.due and warned is not None and t >= warned + grace and t >= self._state.retry_at

    def _warn(self, facts: Facts, found: Plan | None) -> None:
        warned = self._state.warned
        for other in guard_rules.candidates(self._config, facts):
            limit_only = other.action == KEEP and other.trigger in DEFAULT_ACTIONS | {"disk": KEEP}
            if limit_only and facts.t >= other.due and other.trigger not in warned:
                warned[other.trigger] = facts.t
                self._tell("notice", f"{other.why}; nothing is done, as was asked", other)
        if found is None or found.due - facts.t > self._config.warn_s:
            return
        stages = [found.key] if found.due - facts.t > FINAL_WARNING_S else [found.key, f"{found.key}:last"]
        fresh = [stage for stage in stages if stage not in self._state.warned]
        if fresh:
            self._state.warned |= dict.fromkeys(fresh, facts.t)
            self._tell("warning", guard_rules.warning(found, facts.t), found)

    def _carry_out(self, found: Plan, facts: Facts) -> None:
        if facts.live:
            if found.trigger in guard_rules.HARD:
                self._stop_runs(found, facts)
            return
        allowed = guard_rules.verdict(self._config, facts, found.action)
        if not allowed.action:
            if self._state.blocked != allowed.why_not:
                self._state.blocked = allowed.why_not
                self._tell("blocked", f"{found.why}, but {allowed.why_not}: the pod goes on", found)
            return
        if allowed.why_not:
            self._tell("notice", f"{allowed.why_not}: the pod is stopped, not terminated", found)
        action = allowed.action
        if action == STOP and self._config.network_volume and self._state.stop_refused:
            # RunPod does not stop every pod that has a network volume. What lies there outlives the pod, and
            # the container's own disk would be wiped by a stop as well.
            text = "stopping was refused: the pod is terminated, its network volume stays"
            self._tell("notice", text, found)
            action = TERMINATE
        self._act(action, found, facts.t)

    def _stop_runs(self, found: Plan, facts: Facts) -> None:
        """Ask each run to save and stop, once; force those that don't."""
        state = self._state
        for run in facts.live:
            if run not in state.asked:
                state.asked[run] = facts.t
                self._stop_run(run, found, force=False)
            elif run not in state.forced and facts.t >= state.asked[run] + STOP_RUNS_LIMIT_S:
                state.forced.append(run)
                self._stop_run(run, found, force=True)

    def _stop_run(self, run: str, found: Plan, *, force: bool) -> None:
        how = "end" if force else "save and stop"
        self._tell("stop", f"{found.why}: the run {run} is asked to {how}", found)
        with suppress(OSError), RunDirectory(self._places.runs / run).log.open("ab") as log:
            log.write(f"finetui: the guard stops this run: {found.why}\n".encode())
        try:
            lifecycle.stop(self._places, run, force=force)
        except AgentError as error:
            self._tell("failure", f"the run {run} could not be stopped: {error.message}", found)

    def _act(self, action: str, found: Plan, t: float) -> None:
        state = self._state
        state.retry_at = t + RETRY_S[min(state.tries, len(RETRY_S) - 1)]
        state.tries += 1
        state.acted = {"action": action, "why": found.why, "boot": self._boot}
        # Before the request: a pod that is terminated at once must find no guard that does it again.
        self._tell("action", f"{found.why}: this pod is being {guard_rules.DONE[action]}", found)
        self._save_state()
        try:
            how = self._control().act(action)
        except PodError as error:
            state.acted = None
            state.stop_refused = state.stop_refused or (action == STOP and error.refused)
            self._tell("failure", f"the pod could not be {guard_rules.DONE[action]}: {error}", found)
            return
        state.retry_at, state.tries = t + STILL_HERE_S, 0
        self._tell("acted", f"RunPod was asked to {action} this pod ({how})", found)

    def _was_spent(self) -> bool:
        """Disarm after a restart of the pod that we brought about: the user wants it to live again."""
        acted = self._state.acted
        if acted is None or acted.get("boot") == self._boot:
            return False
        self._tell("disarmed", f"the pod was started again after: {acted.get('why')}", None)
        self._places.guard_config.unlink(missing_ok=True)
        return True

    def _tell(self, event: str, text: str, found: Plan | None) -> None:
        """Put it into guard.jsonl and before the user's eyes."""
        record = {"at": time.time(), "event": event, "text": text, "trigger": found.trigger if found else ""}
        self._state.notices = [*self._state.notices, record][-KEPT_NOTICES:]
        with suppress(OSError):  # a full disk stops neither the guard nor its action
            append_record(self._places.guard_log, record)

    def _restore(self) -> None:
        """Go on where an earlier process of the same guard was."""
        known = read_json(self._places.guard_status) or {}
        if known.get("id") != self._config.id:
            return
        try:
            self._state = State(**known["state"])
            memory = dict(known["memory"])
            ends, ended = memory.pop("known_ends"), memory.pop("ended")
            self._observer.memory = Memory(
                known_ends=None if ends is None else set(ends),
                ended=tuple(ended) if ended else None,
                **memory,
            )
        except (KeyError, TypeError, ValueError):
            return  # of another build

    def _save(self, facts: Facts, found: Plan | None) -> None:
        self._seen = {
            "live": list(facts.live),
            "attached": facts.attached,
            "free_bytes": facts.free_bytes,
            "plan": asdict(found) if found else None,
        }
        self._save_state()

    def _save_state(self) -> None:
        memory = asdict(self._observer.memory)
        memory["known_ends"] = None if memory["known_ends"] is None else sorted(memory["known_ends"])
        me = Proc().identify(os.getpid())
        document = {
            "id": self._config.id,
            "process": me.to_json() if me else None,
            "build": program.build(),
            "seen": self._seen,
            "state": asdict(self._state),
            "memory": memory,
        }
        if document == self._saved:
            return
        with suppress(OSError):
            write_json(self._places.guard_status, document)
            self._saved = document


def main(arguments: list[str]) -> int:
    """Watch until no guard is armed; a second guard ends at once."""
    if os.fork() > 0:
        return 0
    os.setsid()
    places = Places.from_environment(os.environ)
    environ = dict(os.environ)
    lock = take_lock(places.guard_lock)
    config = guard_config.load(places)
    if lock is None or config is None:
        return 0
    guard = Guard(places, config, control=lambda: PodControl.from_environment(environ))
    while _try(guard):
        time.sleep(tick_s(guard_config.load(places)))
    os.close(lock)
    return 0


def _try(guard: Guard) -> bool:
    try:
        return guard.tick()
    except (OSError, AgentError) as error:
        # A volume that is away for a moment, or a run of a newer build, must not end the guard.
        os.write(2, f"guard: {error}\n".encode())
        return True


def tick_s(config: GuardConfig | None) -> float:
    """Return how long to sleep: short limits are looked at more often."""
    if config is None:
        return 0.0
    limits = (config.idle_s, config.deadline_in_s, config.warn_s)
    return min([TICK_S, *(max(0.2, limit / 10) for limit in limits if limit is not None)])
