"""The files under a target's state directory."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

from remote_agent.protocol import FileEntry, ProtocolError, from_wire
from tui.errors import FinetuiError, InvalidInput, RemoteError
from tui.remote import transfer
from tui.remote.agent_client import AgentClient


def list_files(client: AgentClient, path: str = "") -> list[FileEntry]:
    """Return the entries of a folder; "" is the state directory. Raises RemoteError, Unreachable."""
    entries: list[FileEntry] = []
    while True:
        more = _list_after(client, path, entries[-1].name if entries else "")
        if not more or (entries and more[0].name <= entries[-1].name):
            return entries
        entries += more


def walk(client: AgentClient, path: str) -> Iterator[tuple[str, FileEntry]]:
    """Yield (path under ``path``, entry) of every file below; raises RemoteError, Unreachable."""
    for entry in list_files(client, path):
        # Names come from the far side: one with a slash would be written elsewhere.
        if entry.name in ("", ".", "..") or "/" in entry.name or "\0" in entry.name:
            raise RemoteError("the agent's list of files is malformed", cause=repr(entry.name))
        if entry.kind == "dir":
            for below, found in walk(client, f"{path}/{entry.name}"):
                yield f"{entry.name}/{below}", found
        elif entry.kind == "file":
            yield entry.name, entry


def _list_after(client: AgentClient, path: str, after: str) -> list[FileEntry]:
    result = client.request("file.list", {"path": path, "after": after} if after else {"path": path})
    try:
        if not isinstance(result, list):
            raise ProtocolError("not a list")
        return [from_wire(FileEntry, item) for item in result]
    except ProtocolError as error:
        raise RemoteError("the agent's list of files is malformed", cause=str(error)) from error


def read_file(client: AgentClient, path: str, max_bytes: int) -> bytes:
    """Return the first ``max_bytes`` of a file; raises RemoteError, Unreachable."""
    return b"".join(transfer.read_remote(client, path, 0, max_bytes))


def download_file(client: AgentClient, path: str, to: Path, on_bytes: transfer.OnBytes | None = None) -> int:
    """Copy one file to this laptop, whole or not at all; return its size in bytes."""
    return transfer.download(client, path, to, on_bytes)


def download_folder(
    client: AgentClient, path: str, to: Path, on_bytes: transfer.OnBytes | None = None
) -> int:
    """Copy a folder to ``to``, which must not be there yet; return its size in bytes.

    A cut copy stays at ``to`` with ``.part`` behind and goes on when it is asked for again.
    Raises InvalidInput when the place is taken, FinetuiError on a full disk, RemoteError, Unreachable.
    """
    if to.exists():
        raise InvalidInput(f"{to} is there already", remedy="name another folder, or move it away first")
    files = list(walk(client, path))
    total, before = sum(entry.bytes for _, entry in files), 0
    part = to.with_name(f"{to.name}.part")
    try:
        part.mkdir(parents=True, exist_ok=True)
        for name, entry in files:
            target = part / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_file() or target.stat().st_size != entry.bytes:
                transfer.download(client, f"{path}/{name}", target, _shifted(on_bytes, before, total))
            before += entry.bytes
        part.rename(to)
    except OSError as error:
        kind = FinetuiError if error.errno in (errno.ENOSPC, errno.EDQUOT) else InvalidInput
        raise kind(
            f"can't write {to}",
            cause=error.strerror or str(error),
            remedy="free some space; asking again goes on where it was",
        ) from error
    return total


def _shifted(on_bytes: transfer.OnBytes | None, before: int, total: int) -> transfer.OnBytes | None:
    return None if on_bytes is None else lambda done, _: on_bytes(before + done, total)
