"""Notices that a run changed, by looking at its files; nothing runs while nobody is subscribed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from remote_agent import guard_control, status
from remote_agent.errors import AgentError
from remote_agent.places import Places
from remote_agent.protocol import ENDED, RunStatus, to_wire
from remote_agent.runs import RunDirectory, list_runs

#: At most 4 pushes a second while a run is live.
LIVE_SCAN_S = 0.25
IDLE_SCAN_S = 2.0
#: A process can die without any file changing; so a live run is derived anew this often.
RECHECK_S = 2.0

Signature = tuple[tuple[int, int, int] | None, ...]


class RunsScan:
    """The status of every run, derived again only for runs whose files changed or that are live."""

    def __init__(self, places: Places, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._clock = clock
        self._known: dict[str, tuple[Signature, float, RunStatus]] = {}

    def look(self) -> list[RunStatus]:
        """Return the status of all runs, oldest first; touches the disk."""
        now = self._clock()
        known: dict[str, tuple[Signature, float, RunStatus]] = {}
        for directory in list_runs(self._places):
            signature = _signature(directory)
            before = self._known.get(directory.run)
            if before is None or before[0] != signature or _is_stale(before, now):
                try:
                    found = status.status(self._places, directory.run)
                except AgentError:
                    continue  # deleted since it was listed
                known[directory.run] = (signature, now, found)
            else:
                known[directory.run] = before
        self._known = known
        return [found for _, _, found in known.values()]


def _is_stale(entry: tuple[Signature, float, RunStatus], now: float) -> bool:
    _, derived, found = entry
    return found.state not in ENDED and now - derived >= RECHECK_S


def _signature(directory: RunDirectory) -> Signature:
    paths = (
        directory.exit,
        directory.proc,
        directory.phase,
        directory.metrics,
        directory.stop,
        directory.endpoint,
    )
    return tuple(_stat(str(path)) for path in paths)


def _stat(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a str: called for each file of each run four times a second
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class News:
    """What subscribers are told: every run, and what the guard has to say (None where there is none)."""

    runs: list[RunStatus]
    guard: dict[str, Any] | None

    def to_wire(self) -> dict[str, Any]:
        """Return the parameters of the notification."""
        return {"runs": [to_wire(run) for run in self.runs], "guard": self.guard}


class RunsWatch:
    """One scan for all subscribers; each hears of every run at once and after any change."""

    def __init__(self, places: Places, *, on_orphan: Callable[[], None] = lambda: None) -> None:
        self._scan = RunsScan(places)
        self._on_orphan = on_orphan
        self._places = places
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self._last: News | None = None
        self._guard: tuple[float, dict[str, Any] | None] | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Call ``listener`` with all runs: soon, and at each change."""
        self._listeners.append(listener)
        if self._task is None:
            self._task = asyncio.create_task(self._follow())
        elif self._last is not None:
            listener(self._last.to_wire())

    def remove(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Stop calling ``listener``; the scan ends with the last one."""
        self._listeners = [other for other in self._listeners if other is not listener]
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None
            self._last = None

    def _look(self) -> tuple[list[RunStatus], dict[str, Any] | None]:
        now = time.monotonic()
        if self._guard is None or now - self._guard[0] >= RECHECK_S:
            self._guard = (now, guard_control.notice(self._places))
        return self._scan.look(), self._guard[1]

    async def _follow(self) -> None:
        while True:
            try:
                runs, guard = await asyncio.to_thread(self._look)
            except OSError:
                await asyncio.sleep(IDLE_SCAN_S)  # a network volume that is away for a moment
                continue
            if any(run.unsupervised for run in runs):
                self._on_orphan()
            news = News(status.worth_listing(runs), guard)
            if news != self._last:
                self._last = news
                wire = news.to_wire()
                for listener in self._listeners:
                    listener(wire)
            live = any(run.state not in ENDED for run in runs)
            await asyncio.sleep(LIVE_SCAN_S if live else IDLE_SCAN_S)
