"""Model servers: a run of kind ``serve`` for one checkpoint, on the target's loopback, with a key."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from presets.render import render_serve
from remote_agent.protocol import ENDED, RunStatus
from tui.errors import InvalidInput, RemoteError, Unreachable
from tui.operations import keys
from tui.operations.checkpoints import choose_checkpoint
from tui.operations.launch import launch_folder
from tui.operations.plan import scratch_folder
from tui.operations.runs import fetch_runs
from tui.operations.stop import failure, stop_run, wait_until
from tui.remote.agent_client import AgentClient
from tui.state.run_id import new_run_id

#: A served model is unloaded when nobody has asked it anything for this long.
IDLE_S = 900.0
#: The same for `finetui serve`, whose clients come and go; it also ends a server whose laptop was lost.
SERVE_IDLE_S = 4 * 3600.0

OnStatus = Callable[[RunStatus], None]


@dataclass(frozen=True)
class Server:
    """A model server that answers; ``url`` is on this laptop's loopback while the client lives."""

    run: str
    checkpoint: str
    url: str
    key: str
    reused: bool


def open_server(
    client: AgentClient,
    run: str,
    step: int | str | None = None,
    *,
    idle_s: float = IDLE_S,
    on_status: OnStatus | None = None,
) -> Server:
    """Find or start the server of ``run`` at ``step``: a number, "base", or None for the newest checkpoint.

    Blocks until it answers; ``on_status`` sees it load. Raises InvalidInput when there is no such checkpoint,
    RemoteError when the server fails, Unreachable.
    """
    spec = _training_spec(client, run)
    number = None if step == "base" else choose_checkpoint(client, run, _number(step)).step
    name = f"{run}@{'base' if number is None else number}"
    server = _live_server(client, name)
    reused = server is not None
    if server is None:
        server = _launch(client, spec, run, number, idle_s)
    try:
        ready = wait_until(client, server.run, lambda status: status.port is not None, on_status)
    except KeyboardInterrupt:
        if not reused:
            _abandon(client, server.run)
        raise
    if ready.port is None or ready.state in ENDED:
        keys.forget(server.run)
        raise failure(ready)
    port = client.forward(ready.port)
    key = keys.find(server.run)
    if key is None:
        raise RemoteError(f"the key of the server {server.run} is gone", remedy=f"finetui stop {server.run}")
    return Server(server.run, name, f"http://127.0.0.1:{port}/v1", key, reused)


def _abandon(client: AgentClient, run: str) -> None:
    """Stop a server that nobody waits for any more, where that can still be said."""
    with contextlib.suppress(RemoteError, Unreachable):
        stop_run(client, run, force=True)
    keys.forget(run)


def close_server(client: AgentClient, server: Server) -> None:
    """Stop a server and forget its key."""
    stop_run(client, server.run)
    keys.forget(server.run)


def _number(step: int | str | None) -> int | None:
    return step if isinstance(step, int) else None


def _training_spec(client: AgentClient, run: str) -> dict[str, Any]:
    spec = client.request("run.spec", {"run": run})
    config = spec.get("config") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(config, dict):
        raise RemoteError(f"run {run} has no readable spec")
    if spec.get("kind") != "train":
        parent = str(spec.get("parent") or "")
        raise InvalidInput(
            f"{run} is a model server, not a training run",
            remedy=f"name the run that it serves: finetui chat {parent}" if parent else "",
        )
    return config


def _live_server(client: AgentClient, checkpoint: str) -> RunStatus | None:
    """Return a server of this checkpoint that this laptop has the key of; keys of ended ones are dropped."""
    for status in fetch_runs(client):
        if status.state in ENDED:
            keys.forget(status.run)
        serves = status.kind == "serve" and status.parent == checkpoint
        if serves and status.state in ("preparing", "starting", "running") and keys.find(status.run):
            return status
    return None


def _launch(
    client: AgentClient, config: dict[str, Any], parent: str, step: int | None, idle_s: float
) -> RunStatus:
    run, key = new_run_id(), keys.new_key()
    keys.keep(run, key)
    try:
        with scratch_folder() as folder:
            prepared = render_serve(config, parent, step, idle_s, folder)
            return launch_folder(client, prepared.job, prepared.folder, run=run, secrets={"API_KEY": key})
    except RemoteError:
        keys.forget(run)
        raise
