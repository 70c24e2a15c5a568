"""JSON on disk: documents that are whole or absent, and JSON lines that survive a torn write."""

from __future__ import annotations

import errno
import json
import os
import secrets
from pathlib import Path
from typing import Any


def write_json(path: Path, value: object, *, mode: int = 0o600) -> None:
    """Write a document so that a reader sees the old or the new one, never a half.

    Raises OSError when it can't be stored; the old document is still there then, and no temporary file.
    """
    data = json.dumps(value, indent=1, allow_nan=False).encode() + b"\n"
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in ``path``, or None when it is absent, unreadable or not an object."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def append_record(path: Path, record: object) -> None:
    """Append one JSON line with one write.

    A torn last line (full disk, SIGKILL in the middle of a write) is ended first, so that it costs one record
    and not two. Raises OSError when the record could not be written whole.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        data = b"\n" + line if torn else line
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a full disk shows as a short write first and as ENOSPC on the next."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(path: Path) -> None:
    """Make renames in ``path`` durable; file systems that can't sync a directory are left alone."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
