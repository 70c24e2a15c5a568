"""Follows a target: one thread that keeps a connection alive and turns what it hears into events."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from remote_agent.protocol import ENDED, RunStatus, Sample
from tui.errors import FinetuiError
from tui.operations.targets import connect
from tui.operations.watch import LogGrew, MetricsArrived, RunWatch
from tui.remote.agent_client import AgentClient
from tui.remote.streams import RunsSeen, SampleSeen, StreamEvent
from tui.state.connection import Backoff, ConnectionChanged, State
from tui.state.history import History
from tui.state.run_id import is_run_id
from tui.state.spool import LogSpool

__all__ = [
    "ConnectionChanged",
    "Event",
    "Follower",
    "LogGrew",
    "MetricsArrived",
    "RunsChanged",
    "SampleArrived",
]

SAMPLE_EVERY_S = 1.0
#: A status that only ticks on is written to the history this often.
_REMEMBER_EVERY_S = 5.0


@dataclass(frozen=True)
class RunsChanged:
    """All runs of the target, as it says."""

    target: str
    runs: tuple[RunStatus, ...]


@dataclass(frozen=True)
class SampleArrived:
    """The newest sample of the target's machine."""

    target: str
    sample: Sample


Event = ConnectionChanged | RunsChanged | SampleArrived | LogGrew | MetricsArrived
_Command = tuple[Literal["watch", "closed", "retry", "stop"], str]


class Follower:
    """Connects, reconnects with backoff, and subscribes again where it was.

    ``on_event`` is called from this follower's threads, one call at a time for each stream, and must not
    block for long. ``watch`` and ``unwatch`` may be called from any thread, connected or not.
    """

    def __init__(
        self,
        target: str,
        on_event: Callable[[Event], None],
        *,
        samples: bool = True,
        connect: Callable[[str], AgentClient] = connect,
        clock: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
    ) -> None:
        self.target = target
        self._on_event = on_event
        self._samples = samples
        self._connect = connect
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._history = History()
        self._commands: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._watches: dict[str, RunWatch] = {}
        self._remembered: dict[str, tuple[RunStatus, float]] = {}
        self._client: AgentClient | None = None
        self._stopped = False
        self._state = ConnectionChanged(target, "connecting", clock())
        self._thread = threading.Thread(target=self._loop, name=f"finetui-follow-{target}", daemon=True)

    def start(self) -> Follower:
        """Begin; events may arrive before this returns."""
        self._thread.start()
        return self

    @property
    def state(self) -> ConnectionChanged:
        """The connection as it is now."""
        return self._state

    @property
    def client(self) -> AgentClient | None:
        """The live connection, for calls beside the streams; None while there is none."""
        return self._client if self._state.state == "live" else None

    def watch(self, run: str) -> LogSpool:
        """Follow a run's log and metrics into this laptop's copies; return the log's.

        What the copies hold is announced first, connected or not. Raises FinetuiError on a full disk.
        """
        if run not in self._watches:
            self._watches[run] = RunWatch(self.target, run, self._history, self._on_event)
            self._commands.put(("watch", run))
        return self._watches[run].log

    def unwatch(self, run: str) -> None:
        """Stop following a run; its copies stay."""
        watch = self._watches.pop(run, None)
        if watch is not None:
            watch.close()

    def retry(self) -> None:
        """Try to connect now instead of after the wait."""
        self._commands.put(("retry", ""))

    def close(self) -> None:
        """Stop following and close the connection; may be called more than once."""
        self._stopped = True
        self._commands.put(("stop", ""))
        if self._client is not None:
            self._client.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(5.0)

    def _loop(self) -> None:
        while not self._stopped:
            self._announce("connecting")
            try:
                client = self._connect(self.target)
            except FinetuiError as error:
                self._wait_after(
                    error.message if not error.cause else f"{error.message}: {error.cause}", error
                )
                continue
            try:
                reason = self._live(client)
            finally:
                client.close()
                self._client = None
            if not self._stopped:
                self._wait_after(reason, None)

    def _live(self, client: AgentClient) -> str:
        """Serve one connection until it ends and return why it did."""
        self._client = client
        client.notify_on_close(lambda reason: self._commands.put(("closed", reason)))
        try:
            client.subscribe("runs", self._take)
            if self._samples:
                client.subscribe("samples", self._take, every_s=SAMPLE_EVERY_S)
            for watch in list(self._watches.values()):
                watch.open(client)
            self._backoff.reset()
            self._announce("live")
            while not self._stopped and not client.closed:
                self._obey(self._commands.get(), client)
        except FinetuiError as error:
            return str(client.reason or error.message)
        return client.reason

    def _obey(self, command: _Command, client: AgentClient | None) -> None:
        name, run = command
        watch = self._watches.get(run) if name == "watch" else None
        if watch is not None:
            watch.announce()
            if client is not None:
                watch.open(client)

    def _wait_after(self, reason: str, error: FinetuiError | None) -> None:
        wait_s = self._backoff.next_s()
        self._announce("lost", reason, error.remedy if error else "", wait_s)
        end = self._clock() + wait_s
        while not self._stopped:
            left = end - self._clock()
            if left <= 0:
                return
            with contextlib.suppress(queue.Empty):
                command = self._commands.get(timeout=left)
                if command[0] == "retry":
                    return
                self._obey(command, None)

    def _announce(
        self, state: State, reason: str = "", remedy: str = "", next_try_s: float | None = None
    ) -> None:
        now = self._clock()
        # A retry that fails again is still the same outage: it began when the connection was lost.
        lost_since = self._state.since if self._state.state != "live" and self._state.reason else now
        if state == "connecting" and self._state.state == "lost":
            reason, remedy = self._state.reason, self._state.remedy
        since = now if state == "live" else lost_since
        self._state = ConnectionChanged(self.target, state, since, reason, remedy, next_try_s)
        self._on_event(self._state)

    def _take(self, event: StreamEvent) -> None:
        if isinstance(event, SampleSeen):
            self._on_event(SampleArrived(self.target, event.sample))
        elif isinstance(event, RunsSeen):
            runs = tuple(run for run in event.runs if is_run_id(run.run))
            for run in runs:
                self._remember(run)
            self._on_event(RunsChanged(self.target, runs))

    def _remember(self, status: RunStatus) -> None:
        before, at = self._remembered.get(status.run, (None, 0.0))
        now = self._clock()
        if before == status or (
            before is not None and before.state == status.state and now - at < _REMEMBER_EVERY_S
        ):
            return
        self._remembered[status.run] = (status, now)
        self._history.remember(self.target, status)
        if before is not None and before.state in ENDED and status.state not in ENDED:
            # Resumed: a stream ends with its run, so open another.
            self._commands.put(("watch", status.run))
