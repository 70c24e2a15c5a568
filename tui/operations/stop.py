"""Stop a run: with a checkpoint where that can be had, by force where not."""

from __future__ import annotations

import threading
from collections.abc import Callable

from remote_agent.protocol import ENDED, RunStatus
from tui.errors import RemoteError, Unreachable
from tui.operations.runs import parse_status
from tui.operations.status import get_status
from tui.remote.agent_client import AgentClient
from tui.remote.streams import RunsSeen, StreamEvent
from tui.state.history import History

#: Longest silence of the stream of runs before the state is asked for again.
_ASK_AGAIN_S = 5.0


def stop_run(client: AgentClient, run: str, *, force: bool = False) -> RunStatus:
    """Ask the run to stop and return at once; asking twice is harmless. Raises RemoteError, Unreachable."""
    status = parse_status(client.request("run.stop", {"run": run, "force": force}))
    History().remember(client.target, status)
    return status


def wait_until(
    client: AgentClient,
    run: str,
    done: Callable[[RunStatus], bool],
    on_status: Callable[[RunStatus], None] | None = None,
) -> RunStatus:
    """Return the first status for which ``done`` holds, or an ended one; ``on_status`` sees each change.

    Raises Unreachable when the connection ends first.
    """
    changed = threading.Event()

    def take(event: StreamEvent) -> None:
        if isinstance(event, RunsSeen):
            changed.set()

    client.notify_on_close(lambda reason: changed.set())
    subscription = client.subscribe("runs", take)
    try:
        seen: RunStatus | None = None
        while True:
            changed.clear()
            status = get_status(client, run)
            if on_status is not None and status != seen:
                on_status(status)
            seen = status
            if status.state in ENDED or done(status):
                return status
            changed.wait(_ASK_AGAIN_S)
            if client.closed:
                raise Unreachable(
                    f"the connection to {client.target} ended",
                    cause=client.reason,
                    remedy=f"the run goes on; look again with: finetui status {run}",
                )
    finally:
        subscription.close()


def wait_for_end(
    client: AgentClient, run: str, on_status: Callable[[RunStatus], None] | None = None
) -> RunStatus:
    """Return the status once the run has ended."""
    return wait_until(client, run, lambda status: False, on_status)


def failure(status: RunStatus) -> RemoteError:
    """Return the error that tells why a run did not end well."""
    return RemoteError(
        f"run {status.run} {'is ' if status.state == 'lost' else ''}{status.state}",
        cause=status.message or (f"exit code {status.exit_code}" if status.exit_code is not None else ""),
        remedy=f"read its log with: finetui logs {status.run}",
    )
