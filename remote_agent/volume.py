"""How much room the volume has, also where df tells the size of a whole cluster instead of our share."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from remote_agent import machine

TIB = 1024**4
#: RunPod's network volumes are shares of a cluster that df shows whole: 839 TB where 50 GB were bought.
UNBELIEVABLE_BYTES = 100 * TIB
#: A walk over a network volume is slow; what was counted by then is a lower bound.
WALK_LIMIT_S = 15.0
PROBE_BYTES = 4 * 1024 * 1024
ROOT = Path("/")


@dataclass(frozen=True)
class Space:
    """Bytes used and in all; ``total`` is None when nobody knows it, ``exact`` False for a lower bound."""

    used: int
    total: int | None
    exact: bool = True

    @property
    def free(self) -> int | None:
        """Bytes left, None when the size is not known."""
        return None if self.total is None else max(0, self.total - self.used)


def space(
    path: Path, *, size_bytes: int | None = None, clock: Callable[[], float] = time.monotonic
) -> Space | None:
    """Return the space of the volume that holds ``path``; None when it can't be asked.

    ``size_bytes`` is what was bought, as the laptop knows it; else df is believed, unless it can't be true.
    """
    shown = machine.disk(path)
    if shown is None:
        return None
    used, total = shown
    if total <= UNBELIEVABLE_BYTES and (size_bytes is None or total <= size_bytes):
        return Space(used, total)
    counted, exact = occupied(mount_of(path), clock=clock)
    return Space(counted, size_bytes, exact)


def mount_of(path: Path) -> Path:
    """Return the topmost folder on the file system of ``path``."""
    path = path.resolve()
    while path.parent != path and not path.is_mount():
        path = path.parent
    return path


def occupied(path: Path, *, clock: Callable[[], float] = time.monotonic) -> tuple[int, bool]:
    """Return the bytes that the files under ``path`` occupy, and whether all were counted in time."""
    deadline = clock() + WALK_LIMIT_S
    total, seen = 0, set()
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))  # noqa: PTH118
            except OSError:
                continue
            if found.st_nlink == 1 or found.st_ino not in seen:
                total += found.st_blocks * 512
            if found.st_nlink > 1:
                seen.add(found.st_ino)
        if clock() >= deadline:
            return total, False
    return total, True


def write_probe(folder: Path) -> OSError | None:
    """Write and remove a small file; return the error of a volume that is full, over quota or read-only."""
    probe = folder / f".probe-{secrets.token_hex(4)}"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            left = PROBE_BYTES
            while left:
                left -= os.write(descriptor, b"\0" * left)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error
    finally:
        probe.unlink(missing_ok=True)
    return None
