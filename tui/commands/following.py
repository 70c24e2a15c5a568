"""Following one run from the command line until it ends, through every loss of the connection."""

from __future__ import annotations

import queue
from collections.abc import Callable

from remote_agent.protocol import ENDED, RunStatus
from tui.commands.connecting import connect
from tui.commands.output import note
from tui.operations.follow import ConnectionChanged, Event, Follower, LogGrew, MetricsArrived, RunsChanged
from tui.operations.runs import RunRef
from tui.operations.stop import failure


def follow_run(found: RunRef, show: Callable[[Event], None]) -> int:
    """Hand every event to ``show`` until the run has ended and all of it is here; 0 when it ended well.

    Raises Unreachable when the first connection fails, RemoteError when the run failed.
    """
    connect(found.target).close()
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    follower = Follower(found.target, events.put, samples=False, connect=connect)
    follower.watch(found.run)
    follower.start()
    end: RunStatus | None = None
    log_ended = metrics_ended = False
    try:
        while not (end is not None and log_ended and metrics_ended):
            event = events.get()
            show(event)
            if isinstance(event, ConnectionChanged):
                _tell(event)
            elif isinstance(event, LogGrew) and event.run == found.run:
                log_ended = event.ended
            elif isinstance(event, MetricsArrived) and event.run == found.run:
                metrics_ended = event.ended
            elif isinstance(event, RunsChanged):
                end = next((run for run in event.runs if run.run == found.run and run.state in ENDED), None)
    finally:
        follower.close()
    if end.state not in ("finished", "stopped"):
        raise failure(end)
    return 0


def _tell(event: ConnectionChanged) -> None:
    if event.state == "lost":
        again = f", next try in {event.next_try_s:.1f} s" if event.next_try_s is not None else ""
        note(f"connection to {event.target} lost: {event.reason}{again}")
