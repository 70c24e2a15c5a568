"""The job spec as the agent understands it: checked once, at launch and at the supervisor's start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from remote_agent.errors import AgentError
from remote_agent.notify import KINDS as NOTIFY_KINDS
from remote_agent.protocol import INVALID_PARAMS

KINDS = ("train", "serve", "export")
#: Writing a 100 GB checkpoint to a network volume takes minutes.
GRACEFUL_SAVE_S = 900.0
#: torch and DeepSpeed wait 30 s themselves before they kill their workers.
GRACE_S = 45.0


@dataclass(frozen=True)
class Step:
    """One command of a run; ``once`` steps are left out by a resume of a later one."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    once: bool = False


@dataclass(frozen=True)
class Resume:
    """Which step continues from a checkpoint, and with what appended to its argv."""

    step: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class JobSpec:
    """What to run; durations in seconds."""

    kind: str
    steps: tuple[Step, ...]
    preset: str = ""
    model: str = ""
    parent: str = ""
    ranks: int = 1
    needs_environment: bool = False
    #: webhook or ntfy; "" when nobody is to be told of the end.
    notify: str = ""
    resume: Resume | None = None
    graceful_save_s: float = GRACEFUL_SAVE_S
    grace_s: float = GRACE_S


def parse(data: object) -> JobSpec:
    """Read a spec from JSON; unknown keys are ignored.

    Raises AgentError (INVALID_PARAMS) that names the key which is wrong.
    """
    spec = _object(data, "spec")
    kind = spec.get("kind", "train")
    if kind not in KINDS:
        raise _invalid("kind", f"is none of {', '.join(KINDS)}")
    steps = spec.get("steps")
    if not isinstance(steps, list) or not steps:
        raise _invalid("steps", "is not a list with at least one step")
    stop = _object(spec.get("stop", {}), "stop")
    return JobSpec(
        kind=kind,
        steps=tuple(_step(item, index) for index, item in enumerate(steps)),
        preset=_text(spec, "preset"),
        model=_text(spec, "model"),
        parent=_text(spec, "parent"),
        ranks=_ranks(spec.get("ranks", 1)),
        needs_environment=spec.get("environment") is not None,
        notify=_notify(spec.get("notify")),
        resume=_resume(spec.get("resume")),
        graceful_save_s=_seconds(stop, "graceful_save_s", GRACEFUL_SAVE_S),
        grace_s=_seconds(stop, "grace_s", GRACE_S),
    )


def _step(data: object, index: int) -> Step:
    where = f"steps[{index}]"
    step = _object(data, where)
    env = _object(step.get("env", {}), f"{where}.env")
    argv = _strings(step.get("argv"), f"{where}.argv")
    if not argv:
        raise _invalid(f"{where}.argv", "is empty")
    return Step(
        name=_text(step, "name") or f"step-{index + 1}",
        argv=argv,
        env=dict(zip(env, _strings(list(env.values()), f"{where}.env"), strict=True)),
        once=step.get("once") is True,
    )


def _notify(data: object) -> str:
    if data is None:
        return ""
    kind = _object(data, "notify").get("kind", "webhook")
    if kind not in NOTIFY_KINDS:
        raise _invalid("notify.kind", f"is none of {', '.join(NOTIFY_KINDS)}")
    return str(kind)


def _resume(data: object) -> Resume | None:
    if data is None:
        return None
    resume = _object(data, "resume")
    return Resume(step=_text(resume, "step"), argv=_strings(resume.get("argv"), "resume.argv"))


def _object(data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _invalid(where, "is not an object")
    return data


def _strings(data: object, where: str) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(item, str) and "\0" not in item for item in data):
        raise _invalid(where, "holds something that is not text")
    return tuple(data)


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key, "")
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _invalid(key, "is not text")
    return value


def _ranks(value: object) -> int:
    if type(value) is not int or value < 1:
        raise _invalid("ranks", "is not a number of processes")
    return value


def _seconds(data: Mapping[str, Any], key: str, default: float) -> float:
    value = data.get(key, default)
    if type(value) not in (int, float) or value < 0:
        raise _invalid(f"stop.{key}", "is not a duration in seconds")
    return float(value)


def _invalid(where: str, why: str) -> AgentError:
    return AgentError(INVALID_PARAMS, f"the job spec can't be used: {where} {why}")
