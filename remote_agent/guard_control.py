"""The guard as agentd handles it: arm, put off, disarm, look, and keep its process alive."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from remote_agent import builds, guard_config, moments, program
from remote_agent.documents import append_record, read_json
from remote_agent.errors import AgentError, from_os_error
from remote_agent.guard_config import GuardConfig
from remote_agent.identity import Identity, Proc, send
from remote_agent.job_environment import inherited
from remote_agent.places import Places
from remote_agent.pod_control import OVERRIDES, PodControl
from remote_agent.protocol import FAILED, INVALID_PARAMS, REFUSED
from remote_agent.runs import lock_held

START_LIMIT_S = 10.0
SHOWN_NOTICES = 5


def arm(places: Places, params: Mapping[str, Any]) -> dict[str, Any]:
    """Set the guard, or disarm it when nothing is to be watched; return what ``view`` does, and ``checked``.

    ``checked`` is "" when RunPod lets this pod act on itself, else why not. Raises AgentError.
    """
    control = PodControl.from_environment(os.environ)
    config = guard_config.parse(params, moments.now(), control.pod)
    checked = ""
    if config.watches_nothing:
        _disarm(places)
        return {**view(places), "checked": checked}
    if config.acts:
        if not control.pod or not control.key:
            raise AgentError(
                REFUSED,
                "this machine can't stop itself: it is no RunPod pod, or pid 1 has no RUNPOD_API_KEY",
                remedy="set every action to keep, then the guard only warns; or stop the machine yourself",
            )
        checked = control.check()
    try:
        guard_config.store(places, config)
        _log(places, "armed", f"armed: {_summary(config)}")
    except OSError as error:
        raise from_os_error(error, "arm the guard") from error
    ensure(places)
    _wait_for_process(places)
    return {**view(places), "checked": checked}


def extend(places: Places, seconds: float) -> dict[str, Any]:
    """Put every action off until ``seconds`` from now; raises AgentError when no guard is armed."""
    config = guard_config.load(places)
    if config is None:
        raise AgentError(REFUSED, "no guard is armed on this machine")
    if seconds < 0:
        raise AgentError(INVALID_PARAMS, "seconds: negative")
    try:
        guard_config.store(places, config.extended(moments.now().since(config.armed) + seconds))
        _log(places, "extended", f"nothing is done for {seconds:.0f} s from now")
    except OSError as error:
        raise from_os_error(error, "extend the guard") from error
    return view(places)


def view(places: Places) -> dict[str, Any]:
    """Return the guard as a client sees it; reads two small files."""
    config = guard_config.load(places)
    known = read_json(places.guard_status) or {}
    state = known.get("state") if isinstance(known.get("state"), dict) else {}
    seen = known.get("seen") if isinstance(known.get("seen"), dict) else {}
    current = config is not None and known.get("id") == config.id
    plan = seen.get("plan") if seen and current else None
    return {
        "armed": config is not None,
        "alive": lock_held(places.guard_lock),
        "config": config.to_json() if config else None,
        "spent_usd": config.spent_at(moments.now().since(config.armed)) if config else None,
        "plan": _dated(plan, config) if isinstance(plan, dict) and config else None,
        "seen": {key: value for key, value in (seen or {}).items() if key != "plan"} if current else {},
        "blocked": (state or {}).get("blocked", "") if current else "",
        "notices": ((state or {}).get("notices") or [])[-SHOWN_NOTICES:],
    }


def notice(places: Places) -> dict[str, Any] | None:
    """Return what clients are told beside the runs: changes only when the guard has something to say."""
    if not places.guard_config.exists() and not places.guard_status.exists():
        return None
    found = view(places)
    return {key: found[key] for key in ("armed", "alive", "plan", "blocked", "notices")}


def ensure(places: Places) -> None:
    """Start the guard's process where one is armed and none lives, and replace one of an older build."""
    if guard_config.load(places) is None:
        return
    if lock_held(places.guard_lock):
        _end_older_build(places)
        return
    with places.agentd_log.open("ab") as log:
        subprocess.run(
            program.command("guard"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(places),
            start_new_session=True,
            check=False,
        )


def _environment(places: Places) -> dict[str, str]:
    """Return the guard's environment.

    No secret is in it, unless the pod's own key can be had from nowhere but our environment.
    """
    passed = {name: os.environ[name] for name in OVERRIDES if name in os.environ}
    control = PodControl.from_environment({**passed, "PATH": ""})
    own = {name: os.environ.get(name, "") for name in ("RUNPOD_POD_ID", "RUNPOD_API_KEY")}
    if not passed.get("FINETUI_POD_ENVIRON") and not (control.pod and control.key) and all(own.values()):
        passed |= own
    return {**inherited(os.environ), **places.as_environment(), **passed}


def _end_older_build(places: Places) -> None:
    known = read_json(places.guard_status) or {}
    name = known.get("build")
    if isinstance(name, str) and name and builds.Build.own().is_newer_than(builds.Build.named(name)):
        send(Identity.from_json(known.get("process")), signal.SIGTERM, Proc())


def _wait_for_process(places: Places) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not lock_held(places.guard_lock):
        if time.monotonic() >= deadline:
            raise AgentError(FAILED, "the guard did not start", remedy=f"see {places.agentd_log}")
        time.sleep(0.02)


def _disarm(places: Places) -> None:
    if places.guard_config.exists():
        places.guard_config.unlink(missing_ok=True)
        _log(places, "disarmed", "disarmed by the user")


def _log(places: Places, event: str, text: str) -> None:
    append_record(places.guard_log, {"at": time.time(), "event": event, "text": text, "trigger": ""})


def _dated(plan: dict[str, Any], config: GuardConfig) -> dict[str, Any]:
    due = plan.get("due")
    at = config.armed.wall + due if isinstance(due, int | float) else None
    return {
        "trigger": plan.get("trigger"),
        "action": plan.get("action"),
        "why": plan.get("why"),
        "due_at": at,
    }


def _summary(config: GuardConfig) -> str:
    said = {key: value for key, value in config.to_json().items() if key not in ("id", "armed", "actions")}
    acts = {trigger: action for trigger, action in config.actions.items() if action != guard_config.KEEP}
    return ", ".join(
        f"{key}={value}" for key, value in {**said, **acts}.items() if value not in (None, False, 0.0)
    )
