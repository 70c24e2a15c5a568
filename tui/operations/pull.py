"""Download a checkpoint: to a temporary name until it is whole."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

from remote_agent.protocol import FileEntry
from tui.errors import FinetuiError, InvalidInput, RemoteError
from tui.operations.checkpoints import choose_checkpoint
from tui.operations.files import list_files
from tui.operations.status import get_status
from tui.remote.agent_client import AgentClient
from tui.remote.transfer import OnBytes, download


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
    to, part = folder / name, folder / f"{name}.part"
    if to.exists():
        raise InvalidInput(f"{to} is there already", remedy="name another folder, or remove it")
    files = list(_walk(client, remote))
    total, before = sum(entry.bytes for _, entry in files), 0
    try:
        part.mkdir(parents=True, exist_ok=True)
        for path, entry in files:
            target = part / path.removeprefix(remote + "/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_file() or target.stat().st_size != entry.bytes:
                download(client, path, target, _shifted(on_bytes, before, total))
            before += entry.bytes
        part.rename(to)
    except OSError as error:
        kind = FinetuiError if error.errno in (errno.ENOSPC, errno.EDQUOT) else InvalidInput
        raise kind(
            f"can't write to {folder}",
            cause=error.strerror or str(error),
            remedy="free some space or name another folder; asking again goes on where it was",
        ) from error
    return to


def _remote_folder(client: AgentClient, run: str, step: int | None) -> str:
    status = get_status(client, run)
    if status.kind != "export":
        return f"runs/{run}/output/checkpoint-{choose_checkpoint(client, run, step).step}"
    if status.state != "finished":
        raise InvalidInput(f"the export {run} is {status.state}", remedy="pull it once it has finished")
    return f"runs/{run}/output"


def _walk(client: AgentClient, path: str) -> Iterator[tuple[str, FileEntry]]:
    for entry in list_files(client, path):
        # Names come from the far side: one with a slash would be written elsewhere.
        if entry.name in ("", ".", "..") or "/" in entry.name or "\0" in entry.name:
            raise RemoteError("the agent's list of files is malformed", cause=repr(entry.name))
        if entry.kind == "dir":
            yield from _walk(client, f"{path}/{entry.name}")
        elif entry.kind == "file":
            yield f"{path}/{entry.name}", entry


def _shifted(on_bytes: OnBytes | None, before: int, total: int) -> OnBytes | None:
    if on_bytes is None:
        return None
    return lambda done, _: on_bytes(before + done, total)
