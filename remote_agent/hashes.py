"""SHA-256 of files that may be many gigabytes: computed once for each content."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict

from remote_agent import files
from remote_agent.places import Places

_BLOCK_BYTES = 4 * 1024 * 1024
MAX_KNOWN = 10_000

_Key = tuple[int, int, int, int]


class Hashes:
    """Remembers the hash of a file by device, inode, size and time of change."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, str] = OrderedDict()

    def of(self, places: Places, path: str) -> tuple[str, int]:
        """Return the hash in hex and the size of a file under the state directory; raises AgentError."""
        descriptor = files.open_confined(places, path)
        try:
            before = _key(descriptor)
            known = self._known.get(before)
            if known is None:
                known = _hash(descriptor)
                if _key(descriptor) == before:  # nobody wrote meanwhile
                    self._known[before] = known
                    while len(self._known) > MAX_KNOWN:
                        self._known.popitem(last=False)
            return known, before[2]
        finally:
            os.close(descriptor)


def _key(descriptor: int) -> _Key:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _hash(descriptor: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while data := os.pread(descriptor, _BLOCK_BYTES, offset):
        digest.update(data)
        offset += len(data)
    return digest.hexdigest()
