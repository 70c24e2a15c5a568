"""The files under a target's state directory."""

from __future__ import annotations

from pathlib import Path

from remote_agent.protocol import FileEntry, ProtocolError, from_wire
from tui.errors import RemoteError
from tui.remote import transfer
from tui.remote.agent_client import AgentClient


def list_files(client: AgentClient, path: str = "") -> list[FileEntry]:
    """Return the entries of a folder; "" is the state directory. Raises RemoteError, Unreachable."""
    result = client.request("file.list", {"path": path})
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
