"""Files to and from a target: blobs named by their hash up, plain reads down."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from remote_agent.protocol import MAX_PAYLOAD_BYTES
from tui.errors import FinetuiError, RemoteError
from tui.remote.agent_client import AgentClient
from tui.remote.replies import Pending

#: Told (bytes done, bytes in all).
OnBytes = Callable[[int, int], None]
#: Pieces of 256 KiB that are sent before the first is answered: 2 MiB fill 60 ms at 30 MB/s, as SSH's own
#: window does. On a slow link the answers, one a piece, show that the other side lives.
_PIECES_ON_THE_WAY = 8
_PIECE_TIMEOUT_S = 120.0
_WHOLE = -1


def sha256_of(path: Path) -> str:
    """Return the hash of a file in hex; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def upload_folder(client: AgentClient, folder: Path, on_bytes: OnBytes | None = None) -> dict[str, str]:
    """Upload every file of ``folder`` that the target lacks; return path in the folder -> hash."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}
    upload_blobs(client, {files[path.relative_to(folder).as_posix()]: path for path in paths}, on_bytes)
    return files


def upload_blobs(client: AgentClient, blobs: Mapping[str, Path], on_bytes: OnBytes | None = None) -> None:
    """Upload files by hash, from where an earlier upload was cut; raises RemoteError, Unreachable."""
    held = client.request("blob.have", {"sha256": sorted(blobs)})
    if not isinstance(held, dict):
        raise RemoteError("the agent's answer to blob.have is malformed")
    total = sum(path.stat().st_size for path in blobs.values())
    done = 0
    for sha256, path in blobs.items():
        size = path.stat().st_size
        offset = held.get(sha256, 0)
        if offset != _WHOLE:
            for sent in _put(client, sha256, path, size, offset if type(offset) is int else 0):
                if on_bytes:
                    on_bytes(done + sent, total)
        done += size
        if on_bytes:
            on_bytes(done, total)


def _put(client: AgentClient, sha256: str, path: Path, size: int, offset: int) -> Iterator[int]:
    """Send a file from ``offset`` on and yield how much of it has arrived, again and again.

    The agent stores the pieces in the order in which they are sent.
    """
    on_the_way: deque[tuple[int, Pending]] = deque()
    with path.open("rb") as file:
        file.seek(offset)
        while True:
            data = file.read(MAX_PAYLOAD_BYTES)
            put = client.begin("blob.put", {"sha256": sha256, "o": offset, "size": size}, data)
            offset += len(data)
            on_the_way.append((offset, put))
            last = offset >= size or not data
            while on_the_way and (last or len(on_the_way) >= _PIECES_ON_THE_WAY):
                arrived, put = on_the_way.popleft()
                put.reply(_PIECE_TIMEOUT_S)
                yield arrived
            if last:
                return


def read_remote(client: AgentClient, path: str, offset: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of a file under the target's state directory, up to ``end`` or its size."""
    end = file_size(client, path) if end is None else end
    starts = iter(range(offset, end, MAX_PAYLOAD_BYTES))
    on_the_way: deque[tuple[int, Pending]] = deque()
    while True:
        for start in itertools.islice(starts, _PIECES_ON_THE_WAY - len(on_the_way)):
            want = min(MAX_PAYLOAD_BYTES, end - start)
            on_the_way.append((want, client.begin("file.read", {"path": path, "o": start, "max": want})))
        if not on_the_way:
            return
        want, read = on_the_way.popleft()
        data = read.reply(_PIECE_TIMEOUT_S).payload
        if len(data) > want:
            raise RemoteError(f"the agent sent more of {path} than was asked for")
        yield data
        if len(data) < want:
            return  # the file is shorter


def file_size(client: AgentClient, path: str) -> int:
    """Return the size in bytes of a file under the target's state directory; raises RemoteError."""
    result = client.request("file.read", {"path": path, "o": 0, "max": 0})
    size = result.get("size") if isinstance(result, dict) else result
    if type(size) is not int or size < 0:
        raise RemoteError(f"the agent's answer about {path} is malformed")
    return size


def download(client: AgentClient, path: str, to: Path, on_bytes: OnBytes | None = None) -> int:
    """Copy a remote file to ``to``, which appears only when it is whole; return its size in bytes."""
    total = file_size(client, path)
    part = to.with_name(f"{to.name}.part")
    try:
        done = part.stat().st_size if part.exists() else 0
        done = done if done <= total else 0
        with part.open("r+b" if done else "wb") as file:
            file.seek(done)
            for data in read_remote(client, path, done, total):
                file.write(data)
                done += len(data)
                if on_bytes:
                    on_bytes(done, total)
            file.flush()
            os.fsync(file.fileno())
        if done != total:
            raise RemoteError(f"{path} became shorter while it was read", remedy="try again")
        part.replace(to)
    except OSError as error:
        raise FinetuiError(
            f"can't write {to}",
            cause=error.strerror or str(error),
            remedy="free some space or choose another folder",
        ) from error
    return total
