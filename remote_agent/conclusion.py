"""How a run ended: one document with the exact code and one sentence that says why."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote_agent.documents import write_json
from remote_agent.runs import RESERVE_BYTES, RunDirectory

LOG_TAIL_BYTES = 64 * 1024
_PREFIX = re.compile(r"^(?:\[[^\]]*\]:?\s*)+")
_EXCEPTION = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt)(?::\s.*)?$")
#: What launchers raise when a rank failed: true, and useless.
_WRAPPERS = re.compile(r"(?:^|\.)(?:ChildFailedError|CalledProcessError)$")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
#: DeepSpeed's launcher passes on the negative return code of a rank that SIGKILL ended, modulo 256.
_KILLED_CODES = (128 + signal.SIGKILL, 256 - signal.SIGKILL)


@dataclass(frozen=True)
class Outcome:
    """How one process ended: code or signal, both None when nobody could see it."""

    code: int | None = None
    signal: int | None = None
    #: True when we sent it a signal to stop it.
    ended_by_us: bool = False
    #: Why it could not even be started.
    error: str = ""


def state_of(outcome: Outcome, *, stop_asked: bool, reached_the_end: bool) -> str:
    """Return the state that the outcome of the last step gives the run.

    ``reached_the_end`` is the trainer's own word, which counts when nobody could see its exit code.
    """
    if stop_asked and (outcome.code == 0 or outcome.ended_by_us):
        return "stopped"
    if outcome.code == 0:
        return "finished"
    if outcome.code is None and outcome.signal is None and not outcome.error:
        if stop_asked:
            return "stopped"
        return "finished" if reached_the_end else "lost"
    return "failed"


def failure_message(step: str, outcome: Outcome, log: Path, *, oom_kills: int, secrets: Iterable[str]) -> str:
    """Return one sentence for a step that failed: the last exception of the log where there is one."""
    if outcome.error:
        return f"{step} could not be started: {outcome.error}"
    if step == "environment" and (said := builders_last_words(log)):
        return said
    if outcome.signal is None:
        how = f"{step} failed with exit code {outcome.code}"
    else:
        how = f"{step} was killed by signal {outcome.signal}"
    killed = outcome.signal == signal.SIGKILL or outcome.code in _KILLED_CODES
    if oom_kills:
        how += " (the kernel's out-of-memory killer ended a process: the machine's RAM is too small)"
    elif killed:
        how += " (out of memory?)"
    reason = last_exception(log)
    for secret in secrets:
        if secret:
            reason = reason.replace(secret, "[secret]")
    return f"{how}: {reason}" if reason else how


def builders_last_words(log: Path) -> str:
    """Return what the builder of the environment said at the very end, "" when it could not speak."""
    lines = _tail(log).splitlines()
    return lines[-1].removeprefix("finetui: ") if lines and lines[-1].startswith("finetui: ") else ""


def last_exception(log: Path) -> str:
    """Return the last line of the log that names an exception, "" when none does."""
    for line in reversed(_tail(log).splitlines()):
        text = _PREFIX.sub("", _ANSI.sub("", line)).strip()
        if _EXCEPTION.match(text) and not _WRAPPERS.search(text.split(":")[0]):
            return text[:500]
    return ""


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL_BYTES))
            return file.read(LOG_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""


def oom_kills(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many processes the kernel has killed for memory in our cgroup, 0 where it does not say."""
    try:
        groups = [line.rsplit(":", 1)[-1].strip("/") for line in own.read_text().splitlines()]
    except OSError:
        groups = []
    candidates = [cgroups / group / "memory.events" for group in groups if group]
    candidates += [cgroups / "memory.events", cgroups / "memory" / "memory.oom_control"]
    for path in candidates:
        try:
            found = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found.group(1))
    return 0


def reserve_room(directory: RunDirectory) -> None:
    """Hold 4 KiB for the exit document."""
    directory.reserve.write_bytes(b"\0" * RESERVE_BYTES)


def write_exit(directory: RunDirectory, document: dict[str, Any]) -> None:
    """Store the exit document; on a full disk the reserve makes room. Raises OSError when even that fails."""
    try:
        write_json(directory.exit, document)
    except OSError:
        directory.reserve.unlink(missing_ok=True)
        write_json(directory.exit, document)


def exit_document(
    state: str, outcome: Outcome, message: str, *, attempt: int, step: str, duration_s: float | None
) -> dict[str, Any]:
    """Return what exit.json holds; ``ended`` is wall-clock seconds, for display."""
    return {
        "state": state,
        "code": outcome.code,
        "signal": outcome.signal,
        "message": message,
        "step": step,
        "attempt": attempt,
        "ended": time.time(),
        "duration_s": duration_s,
    }
