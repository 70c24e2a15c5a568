"""Run directories: the only database. A path for each thing that a run leaves."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from remote_agent.errors import AgentError
from remote_agent.places import Places
from remote_agent.protocol import INVALID_PARAMS, NOT_FOUND

_RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
RESERVE_BYTES = 4096


@dataclass(frozen=True)
class RunDirectory:
    """The paths of one run; holding one says nothing about what exists."""

    path: Path

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """The job spec as launched; written last, so a run with a spec is whole."""
        return self.path / "spec.json"

    @property
    def prepared(self) -> Path:
        """What presets rendered; the working directory of every step."""
        return self.path / "prepared"

    @property
    def output(self) -> Path:
        """The trainer's output_dir."""
        return self.path / "output"

    @property
    def proc(self) -> Path:
        """Who runs it."""
        return self.path / "proc.json"

    @property
    def phase(self) -> Path:
        """What it is busy with."""
        return self.path / "phase.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line, by rank 0."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """stdout and stderr of every step."""
        return self.path / "log"

    @property
    def environment(self) -> Path:
        """Which trainer environment the builder made ready: path, python, bin."""
        return self.path / "environment.json"

    @property
    def stop(self) -> Path:
        """Somebody asked to stop: force, at."""
        return self.path / "stop.json"

    @property
    def stop_at(self) -> Path:
        """The step at which all ranks stop."""
        return self.path / "stop_at"

    @property
    def endpoint(self) -> Path:
        """The port of a ready model server."""
        return self.path / "endpoint.json"

    @property
    def exit(self) -> Path:
        """How it ended."""
        return self.path / "exit.json"

    @property
    def safe(self) -> Path:
        """The laptop has the results of this attempt, compared by hash: manifest, attempt."""
        return self.path / "safe.json"

    @property
    def attempts(self) -> Path:
        """Exit documents of earlier attempts, N.json."""
        return self.path / "attempts"

    @property
    def reserve(self) -> Path:
        """4 KiB that make room for exit.json on a full disk."""
        return self.path / ".reserve"


def run_directory(places: Places, run: object) -> RunDirectory:
    """Return the directory of ``run``, which need not exist; raises AgentError for a malformed id."""
    if not isinstance(run, str) or not _RUN_ID.fullmatch(run):
        raise AgentError(
            INVALID_PARAMS,
            f"{str(run)[:80]!r} is not a run id",
            remedy="use the id that finetui runs shows",
        )
    return RunDirectory(places.runs / run)


def existing_run(places: Places, run: object) -> RunDirectory:
    """Return the directory of a run that was launched; raises AgentError when there is none."""
    directory = run_directory(places, run)
    if not directory.spec.is_file():
        raise AgentError(
            NOT_FOUND,
            f"there is no run {run} on this machine",
            remedy="finetui runs lists them; it may have been deleted already",
        )
    return directory


def list_runs(places: Places) -> list[RunDirectory]:
    """Return every launched run, oldest first (ids sort by time)."""
    try:
        paths = sorted(places.runs.iterdir())
    except FileNotFoundError:
        return []
    directories = [RunDirectory(path) for path in paths if _RUN_ID.fullmatch(path.name)]
    return [directory for directory in directories if directory.spec.is_file()]


def take_lock(path: Path) -> int | None:
    """Take an exclusive lock without waiting; the descriptor that holds it, or None when somebody else does.

    The descriptor is close-on-exec: a job that inherited it would keep a dead supervisor's lock alive.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def lock_held(path: Path) -> bool:
    """Say whether somebody holds the exclusive lock.

    The look is a shared lock for an instant: two lookers never mistake each other for the holder.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def changing(places: Places, run: str) -> Iterator[None]:
    """Be the only one, in any process or thread, that launches, resumes or deletes this run."""
    path = places.change_lock(run)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
