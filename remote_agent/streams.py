"""A file followed by byte offset: what a log or metrics subscription sends next.

The server keeps no queue: a reader holds an offset and reads from the file when there is room on the wire, so
memory stays flat whatever the client does, and a reconnect resumes at exactly the byte it asks for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from remote_agent.protocol import CREDIT_BYTES, STREAM_FRAME_BYTES, encode

#: Bytes at the start of a file that tell one file from another with the same inode number.
MARK_BYTES = 64
MIN_CREDIT_BYTES = STREAM_FRAME_BYTES
MAX_CREDIT_BYTES = 8 * CREDIT_BYTES
_FRAMES_PER_CREDIT = 32
#: Seconds between looks at a file that grows, and at one that does not.
FAST_POLL_S = 0.05
SLOW_POLL_S = 0.5


class Generation:
    """Which file it is that offsets count in, as ``inode.n.hash`` of its first n <= 64 bytes.

    The inode alone is not enough: file systems give a freed number to the next file, and a truncated file
    keeps its own. Because n is part of the text, a generation taken from a file of 10 bytes is still checked
    by its first 10 bytes when the file has grown, so it never changes while the file only grows.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        inode, _, rest = text.partition(".")
        length, _, self._digest = rest.partition(".")
        self.inode = int(inode)
        self._length = int(length)
        if not 0 < self._length <= MARK_BYTES:
            raise ValueError(text)

    @classmethod
    def of(cls, fd: int) -> Generation | None:
        """Return the generation of an open file, None while it is empty."""
        mark = os.pread(fd, MARK_BYTES, 0)
        return cls(f"{os.fstat(fd).st_ino}.{len(mark)}.{_digest(mark)}") if mark else None

    def matches(self, fd: int) -> bool:
        """Return whether the open file is the one that this generation was taken from."""
        mark = os.pread(fd, self._length, 0)
        return (
            os.fstat(fd).st_ino == self.inode and len(mark) == self._length and _digest(mark) == self._digest
        )


def _digest(mark: bytes) -> str:
    return hashlib.sha256(mark).hexdigest()[:12]


class FileStream:
    """One subscription to a file of a run.

    ``take`` returns the next frame or None; ``due`` is when (seconds of ``clock``) to ask again, None when
    only an ack can make progress.
    """

    def __init__(
        self,
        sub: int,
        path: Path,
        *,
        offset: int,
        gen: str,
        credit: int,
        ended: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self.sub = sub
        self.due: float | None = clock()
        self.closed = False
        self._path = path
        self._offset = offset
        self._acked = offset
        self._credit = _clamped(credit)
        self._gen = _parse_generation(gen)
        self._foreign_gen = bool(gen) and self._gen is None
        self._ended = ended
        self._clock = clock
        self._fd = -1
        self._size = 0
        self._poll_s = FAST_POLL_S

    def ack(self, offset: int, credit: int | None = None) -> None:
        """Note that the client consumed all bytes up to ``offset``, and the credit it gives from now on."""
        if credit is not None:
            self._credit = _clamped(credit)
        self._acked = max(self._acked, min(offset, self._offset))
        if self.due is None:
            self.due = self._clock()

    def close(self) -> None:
        """Let go of the file."""
        self.closed = True
        self._forget()

    def _forget(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._size = 0

    def take(self, now: float) -> bytes | None:
        """Return the next frame to send, None when there is nothing yet."""
        if self.due is None or now < self.due:
            return None
        try:
            if self._offset < self._size and self._room() > 0:
                return self._data(now)
            frame = self._look(now)
            return frame if frame is not None else self._data(now)
        except OSError:
            # A network volume that is away for a moment (ESTALE, EIO): open the file anew, later.
            self._forget()
            self.due = now + SLOW_POLL_S
            return None

    def _room(self) -> int:
        room = self._acked + self._credit - self._offset
        return room if room >= MIN_CREDIT_BYTES else 0

    def _frame_bytes(self) -> int:
        """Return the size of a frame: the credit grows only where a large one does not delay a reply."""
        return max(STREAM_FRAME_BYTES, self._credit // _FRAMES_PER_CREDIT)

    def _data(self, now: float) -> bytes | None:
        if self._offset >= self._size or self._gen is None:
            return None
        room = self._room()
        if room <= 0:
            self.due = None
            return None
        data = os.pread(self._fd, min(self._frame_bytes(), room, self._size - self._offset), self._offset)
        if not data:
            self._size = self._offset
            self.due = now
            return None
        header = self._event("data", o=self._offset, gen=self._gen.text)
        self._offset += len(data)
        self._poll_s = FAST_POLL_S
        self.due = now
        return encode(header, data)

    def _look(self, now: float) -> bytes | None:
        """Look at the file once: a reset or eof frame, or None with the new size noted."""
        ended = self._ended()
        replaced = self._reopen()
        self._size = os.fstat(self._fd).st_size if self._fd >= 0 else 0
        if replaced or self._size < self._offset:
            return self._reset(now)
        if self._gen is None and self._fd >= 0:
            self._gen = Generation.of(self._fd)
        if ended and self._offset == self._size:
            self.close()
            return encode(self._event("eof", size=self._offset))
        if self._offset == self._size:
            self.due = now + self._poll_s
            self._poll_s = min(self._poll_s * 1.5, SLOW_POLL_S)
        return None

    def _reopen(self) -> bool:
        """Have the file at our path open; return whether it is another one than before."""
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            return False
        if self._fd >= 0 and os.fstat(self._fd).st_ino != inode:
            self._forget()
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self._foreign_gen or (self._gen is not None and not self._gen.matches(self._fd))

    def _reset(self, now: float) -> bytes:
        self._gen = Generation.of(self._fd) if self._fd >= 0 else None
        self._foreign_gen = False
        self._offset = self._acked = 0
        self.due = now
        return encode(self._event("reset", gen=self._gen.text if self._gen else ""))

    def _event(self, method: str, **params: Any) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "method": method, "params": {"sub": self.sub, **params}}


def _clamped(credit: int) -> int:
    return min(max(credit, MIN_CREDIT_BYTES), MAX_CREDIT_BYTES)


def _parse_generation(text: str) -> Generation | None:
    try:
        return Generation(text)
    except ValueError:
        return None
