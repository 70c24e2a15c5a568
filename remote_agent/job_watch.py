"""See one process of a run to its end: wait, stop it when somebody asks, sweep what it leaves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from remote_agent import failpoints, metrics_tail
from remote_agent.conclusion import Outcome
from remote_agent.documents import read_json, write_json
from remote_agent.identity import Identity, Proc
from remote_agent.runs import RunDirectory
from remote_agent.sweep import carriers, descendants, kill_all
from remote_agent.waker import Waker

#: A lost poke delays a stop by no more than this.
LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class StopRequest:
    """Somebody wants the run to end; ``force`` leaves out every grace."""

    force: bool


def read_stop(directory: RunDirectory) -> StopRequest | None:
    """Return the stop request; one that can't be read is a request all the same."""
    if not directory.stop.exists():
        return None
    document = read_json(directory.stop) or {}
    return StopRequest(force=document.get("force") is True)


def write_stop(directory: RunDirectory, *, force: bool) -> None:
    """Ask the run to stop; a force that was asked for stays."""
    earlier = read_stop(directory)
    if earlier is None or (force and not earlier.force):
        write_json(directory.stop, {"force": force, "at": time.time()})


@dataclass
class JobWatch:
    """Watches the processes of one attempt; durations in seconds of the monotonic clock."""

    directory: RunDirectory
    proc: Proc
    waker: Waker
    cookie: str
    metrics_offset: int
    graceful_save_s: float
    grace_s: float
    clock: Callable[[], float] = time.monotonic
    beat: Callable[[], None] = lambda: None

    def child(self, pid: int, *, can_save: bool) -> Outcome:
        """Wait for our child ``pid``, the leader of its group, then sweep what it left."""
        return self._to_the_end(pid, lambda: self._child_outcome(pid), can_save=can_save)

    def adopted(self, identity: Identity, *, can_save: bool) -> Outcome:
        """Wait for a job that another supervisor started; its exit code can't be known."""
        return self._to_the_end(
            identity.pid,
            lambda: None if self.proc.alive(identity) else Outcome(),
            can_save=can_save,
        )

    def sweep(self) -> list[Identity]:
        """Kill every descendant and every process with the run's cookie; return what could not be killed."""
        failpoints.reached("supervise-sweep")
        return kill_all(self.proc, self._ours, self.waker.reap, clock=self.clock)

    def stop_request(self) -> StopRequest | None:
        """Return the stop request; a SIGTERM to the supervisor is turned into one."""
        if self.waker.asked_to_stop and not self.directory.stop.exists():
            write_stop(self.directory, force=False)
        return read_stop(self.directory)

    def _ours(self) -> list[Identity]:
        found = {*descendants(self.proc, os.getpid()), *carriers(self.proc, self.cookie)}
        return sorted(found, key=lambda identity: identity.pid)

    def _child_outcome(self, pid: int) -> Outcome | None:
        self.waker.reap()
        status = self.waker.statuses.get(pid)
        if status is None:
            return None
        if os.WIFSIGNALED(status):
            return Outcome(signal=os.WTERMSIG(status))
        return Outcome(code=os.WEXITSTATUS(status))

    def _to_the_end(self, group: int, ended: Callable[[], Outcome | None], *, can_save: bool) -> Outcome:
        terminate_at: float | None = None
        sweep_at: float | None = None
        while True:
            outcome = ended()
            if outcome is not None:
                self.sweep()
                return Outcome(outcome.code, outcome.signal, ended_by_us=sweep_at is not None)
            request = self.stop_request()
            now = self.clock()
            if request is not None and request.force:
                sweep_at = now
            elif request is not None and terminate_at is None:
                terminate_at = now + (self.graceful_save_s if can_save and self._can_save() else 0.0)
            if sweep_at is not None and now >= sweep_at:
                self.sweep()
                sweep_at = now
            elif terminate_at is not None and sweep_at is None and now >= terminate_at:
                _terminate_group(group)
                sweep_at = now + self.grace_s
                failpoints.reached("supervise-grace")
            self.beat()
            due = sweep_at if sweep_at is not None else terminate_at
            self.waker.wait(LOOK_EVERY_S if due is None else min(LOOK_EVERY_S, max(0.01, due - now)))

    def _can_save(self) -> bool:
        # Not "and no end": between its end record and its exit a trainer still writes the final weights.
        return metrics_tail.first_begin(self.directory.metrics, self.metrics_offset) is not None


def _terminate_group(group: int) -> None:
    """Send SIGTERM to a group whose leader is not reaped yet, or whose identity was just compared."""
    try:
        os.killpg(group, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        return
