"""Files that a client may see: those under the state directory, wherever a path or a link points."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from remote_agent.errors import AgentError
from remote_agent.places import Places
from remote_agent.protocol import (
    INVALID_PARAMS,
    MAX_JSON_BYTES,
    MAX_PAYLOAD_BYTES,
    NOT_FOUND,
    REFUSED,
    FileEntry,
)

#: What one answer may take on the wire, with room for what surrounds it.
MAX_LISTING_BYTES = MAX_JSON_BYTES // 2
_ENTRY_BYTES = 100


def list_directory(places: Places, path: str, *, after: str = "") -> list[FileEntry]:
    """Return the entries of a directory by name; "" is the state directory. Raises AgentError.

    As many as one answer holds: ask again with the last name as ``after`` until nothing comes.
    """
    directory = _confined(places, path)
    if not directory.is_dir():
        raise AgentError(INVALID_PARAMS, f"path: {path} is not a directory")
    entries = []
    with os.scandir(directory) as found:
        for entry in found:
            if entry.name <= after:
                continue
            try:
                details = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since it was listed
            entries.append(FileEntry(entry.name, _kind(details.st_mode), details.st_size, details.st_mtime))
    return _as_many_as_fit(sorted(entries, key=lambda entry: entry.name))


def _as_many_as_fit(entries: list[FileEntry]) -> list[FileEntry]:
    left = MAX_LISTING_BYTES
    for index, entry in enumerate(entries):
        left -= _ENTRY_BYTES + len(json.dumps(entry.name))
        if left < 0:
            return entries[:index]
    return entries


def read(places: Places, path: str, offset: int, limit: int) -> tuple[int, bytes]:
    """Return the size of a file and up to ``limit`` of its bytes from ``offset``. Raises AgentError."""
    if offset < 0:
        raise AgentError(INVALID_PARAMS, "o: negative")
    descriptor = open_confined(places, path)
    try:
        size = os.fstat(descriptor).st_size
        wanted = min(max(limit, 0), MAX_PAYLOAD_BYTES, max(size - offset, 0))
        return size, os.pread(descriptor, wanted, offset)
    finally:
        os.close(descriptor)


def open_confined(places: Places, path: str) -> int:
    """Open a regular file and return its descriptor; raises AgentError.

    What was opened is checked again, as a link may have changed meanwhile.
    """
    target = _confined(places, path)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO must not hold us
    try:
        descriptor = os.open(target, flags)
    except OSError as error:
        raise AgentError(REFUSED, f"{path} can't be opened: {error.strerror}") from error
    opened = Path(f"/proc/self/fd/{descriptor}")
    inside = not opened.exists() or _is_inside(opened.resolve(), places)
    if not inside or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AgentError(REFUSED, f"{path} is not a regular file of the agent")
    return descriptor


def _confined(places: Places, path: str) -> Path:
    """Return the real path; raises AgentError when it is not there or leads outside."""
    if "\0" in path or path.startswith("/") or ".." in path.split("/"):
        raise AgentError(REFUSED, "path: must be relative to the state directory, without '..'")
    try:
        real = (places.state / path).resolve(strict=True)
    except FileNotFoundError as error:
        raise AgentError(NOT_FOUND, f"there is no {path} on the machine") from error
    except (OSError, RuntimeError, ValueError) as error:
        # Too long a name, a loop of links, text that no file name can hold.
        raise AgentError(INVALID_PARAMS, f"path: {error}") from error
    if not _is_inside(real, places):
        raise AgentError(REFUSED, f"{path} leads out of the state directory")
    return real


def _is_inside(real: Path, places: Places) -> bool:
    return real.is_relative_to(places.state.resolve())


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "link"
    return "dir" if stat.S_ISDIR(mode) else "file"
