"""Download a checkpoint: to a temporary name until it is whole."""

from __future__ import annotations

from pathlib import Path

from tui.errors import InvalidInput
from tui.operations.checkpoints import choose_checkpoint
from tui.operations.files import download_folder
from tui.operations.status import get_status
from tui.remote.agent_client import AgentClient
from tui.remote.transfer import OnBytes


def pull(
    client: AgentClient, run: str, step: int | None, folder: Path, on_bytes: OnBytes | None = None
) -> Path:
    """Copy the checkpoint at ``step``, else the newest, into ``folder`` and return where it lies.

    Of an export run, all that it wrote.

    A cut download goes on where it was when it is asked for again. Raises InvalidInput when the place is
    taken, FinetuiError on a full disk, RemoteError, Unreachable.
    """
    remote = _remote_folder(client, run, step)
    name = f"export-{run}" if remote.endswith("/output") else remote.rpartition("/")[2]
    to = folder / name
    download_folder(client, remote, to, on_bytes)
    return to


def _remote_folder(client: AgentClient, run: str, step: int | None) -> str:
    status = get_status(client, run)
    if status.kind != "export":
        return f"runs/{run}/output/checkpoint-{choose_checkpoint(client, run, step).step}"
    if status.state != "finished":
        raise InvalidInput(f"the export {run} is {status.state}", remedy="pull it once it has finished")
    return f"runs/{run}/output"
