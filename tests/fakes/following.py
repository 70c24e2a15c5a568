"""A client that follows one run of a target, and what a test asks about its copies."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from pathlib import Path

from remote_agent.places import Places
from tests.fakes.waiting import wait_for
from tui.operations import targets
from tui.operations.follow import ConnectionChanged, Event, Follower, LogGrew, RunsChanged
from tui.remote.ssh_ask import nobody_to_ask
from tui.state.connection import Backoff
from tui.state.history import History


class Following:
    """Follows ``run`` on ``target`` until closed; every event is kept."""

    def __init__(self, target: str, run: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.run = run
        self._changed = threading.Condition()
        self._events: list[tuple[float, Event]] = []
        self._follower = Follower(
            target,
            self._take,
            samples=False,
            connect=functools.partial(targets.connect, ask=nobody_to_ask()),
            # The waits of the real backoff, shorter: tests cut hundreds of times.
            backoff=Backoff(lambda low, high: min(low, 0.3)),
            clock=clock,
        )
        self._follower.watch(run)
        self._follower.start()

    @property
    def log(self) -> Path:
        return History().log_path(self.run)

    @property
    def metrics(self) -> Path:
        return History().metrics_path(self.run)

    @property
    def states(self) -> list[str]:
        """Every state that the connection went through."""
        with self._changed:
            return [event.state for _, event in self._events if isinstance(event, ConnectionChanged)]

    def times(self, state: str) -> list[float]:
        """When the connection entered ``state``, on the monotonic clock."""
        with self._changed:
            return [
                at
                for at, event in self._events
                if isinstance(event, ConnectionChanged) and event.state == state
            ]

    def wait_state(self, state: str, count: int = 1, timeout_s: float = 60.0) -> None:
        """Wait until the connection has been in ``state`` this many times."""
        self._wait(lambda: self.states.count(state) >= count, f"{state} x {count}", timeout_s)

    def wait_bytes(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until the copy of the log has at least ``count`` bytes."""
        wait_for(lambda: self.log.exists() and self.log.stat().st_size >= count, f"{count} bytes", timeout_s)

    def wait_run_state(self, state: str, timeout_s: float = 60.0) -> None:
        """Wait until the target was heard to say that the run is in ``state``."""
        self._wait(lambda: state in self.run_states(), f"the run to be {state}", timeout_s)

    def run_states(self) -> list[str]:
        with self._changed:
            lists = [event.runs for _, event in self._events if isinstance(event, RunsChanged)]
        return [run.state for runs in lists for run in runs if run.run == self.run]

    def wait_whole(self, places: Places, timeout_s: float = 120.0) -> None:
        """Wait for the end of the log, then hold both copies against the files (I4)."""
        self._wait(self._ended, "the end of the log", timeout_s)
        folder = places.runs / self.run
        assert self.log.read_bytes() == (folder / "log").read_bytes(), "the copy of the log differs"
        wait_for(
            lambda: self.metrics.read_bytes() == (folder / "metrics.jsonl").read_bytes(),
            "the copy of the metrics to be whole",
        )

    def _ended(self) -> bool:
        with self._changed:
            return any(isinstance(event, LogGrew) and event.ended for _, event in self._events)

    def close(self) -> None:
        self._follower.close()

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, event: Event) -> None:
        with self._changed:
            self._events.append((time.monotonic(), event))
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            left = deadline - time.monotonic()
            assert left > 0, f"waited {timeout_s} s in vain for {what}; {self.states[-8:]} {self._reasons()}"
            with self._changed:
                self._changed.wait(min(left, 0.5))

    def _reasons(self) -> list[str]:
        with self._changed:
            found = [event.reason for _, event in self._events if isinstance(event, ConnectionChanged)]
        return [reason for reason in found if reason][-3:]
