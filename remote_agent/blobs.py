"""Uploaded files, content-addressed: resumed after a cut, verified once whole."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from remote_agent.documents import sync_directory, write_all
from remote_agent.errors import AgentError
from remote_agent.places import Places
from remote_agent.protocol import CONFLICT, FAILED, INVALID_PARAMS, NO_SPACE

WHOLE = -1
#: Left free on the volume, so that the end of a run can still be written down.
SPARE_BYTES = 64 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HASH_BYTES = 1024 * 1024


class RunningHash:
    """The hash of a blob as its bytes come in order: reading it again costs a fifth of the upload."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._in_order = True

    def add(self, offset: int, data: bytes) -> None:
        """Note bytes that were stored; others than the next ones make the hash unknown."""
        self._in_order = self._in_order and offset == self._bytes
        if self._in_order:
            self._digest.update(data)
            self._bytes += len(data)

    def of(self, size: int) -> str | None:
        """Return the hash in hex of a file of ``size`` bytes, None when it has to be read again."""
        return self._digest.hexdigest() if self._in_order and self._bytes == size else None


def have(places: Places, sha256: str) -> int:
    """Return the bytes held of a blob: -1 when it is whole, 0 when there is nothing.

    Asking makes it young again: what a client is about to use is not cleaned up.
    """
    blob, part = _blob(places, sha256), _part(places, sha256)
    try:
        os.utime(blob)
        return WHOLE
    except FileNotFoundError:
        pass
    try:
        os.utime(part)
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def put(  # noqa: PLR0917
    places: Places, sha256: str, offset: int, size: int, data: bytes, running: RunningHash | None = None
) -> int:
    """Store ``data`` at ``offset`` of a blob of ``size`` bytes; return the bytes held.

    Sending the same bytes again is harmless. The last byte makes it whole: then its hash is checked, and a
    blob that does not have it is thrown away. Raises AgentError.
    """
    blob, part = _blob(places, sha256), _part(places, sha256)
    if blob.is_file():
        return size
    if offset < 0 or size < 0 or offset + len(data) > size:
        raise AgentError(
            INVALID_PARAMS, f"o: {len(data)} bytes at {offset} do not fit in a file of {size} bytes"
        )
    blob.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        held = os.fstat(descriptor).st_size
        if offset > held:
            raise AgentError(CONFLICT, f"o: only {held} bytes of this file are here", remedy="ask blob.have")
        _check_space(blob.parent, size - held)
        os.lseek(descriptor, offset, os.SEEK_SET)
        write_all(descriptor, data)
        if running is not None:
            running.add(offset, data)
        held = max(held, offset + len(data))
        if held < size:
            return held
        _finish(descriptor, part, blob, size, running.of(size) if running is not None else None)
    finally:
        os.close(descriptor)
    return size


def _finish(descriptor: int, part: Path, blob: Path, size: int, known: str | None) -> None:
    if os.fstat(descriptor).st_size != size or (known or _hash(descriptor)) != blob.name:
        part.unlink(missing_ok=True)
        raise AgentError(
            FAILED, "the uploaded file is not the one that was announced", remedy="upload it again"
        )
    os.fsync(descriptor)
    part.rename(blob)
    sync_directory(blob.parent)


def _hash(descriptor: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while data := os.pread(descriptor, _HASH_BYTES, offset):
        digest.update(data)
        offset += len(data)
    return digest.hexdigest()


def _check_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if needed + SPARE_BYTES > free:
        raise AgentError(
            NO_SPACE,
            f"the upload needs {needed} bytes more, {free} are free on the machine",
            remedy="free some space: finetui delete RUN, or finetui files TARGET to look",
        )


def _blob(places: Places, sha256: str) -> Path:
    if not _SHA256.fullmatch(sha256):
        raise AgentError(INVALID_PARAMS, "sha256: not 64 lower-case hex digits")
    return places.blobs / sha256


def _part(places: Places, sha256: str) -> Path:
    return _blob(places, sha256).with_suffix(".part")
