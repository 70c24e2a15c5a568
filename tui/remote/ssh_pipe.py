"""What a channel received and nobody read yet, kept in the pieces in which it came."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, cast

import paramiko
from paramiko.buffered_pipe import PipeTimeout

if TYPE_CHECKING:
    from paramiko.buffered_pipe import BufferedPipe

#: The server may send this share of the window before it hears that the rest was read; paramiko's tenth
#: costs a packet, and a wait for the interpreter, every 200 KB.
_WINDOW_SHARE = 4


class ChunkPipe:
    """Hands bytes from the transport's thread to the reader's without copying them twice.

    paramiko's own pipe appends to an array and cuts its front off again: a quarter of the processor time of a
    fast stream. Here the pieces of a read are joined once, or given out as they are.
    """

    def __init__(self) -> None:
        self._ready = threading.Condition(threading.Lock())
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Add bytes at the end."""
        with self._ready:
            self._pieces.append(data)
            self._bytes += len(data)
            self._ready.notify()

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """Return 1 to ``nbytes`` bytes, b"" at the end; raises PipeTimeout after ``timeout`` seconds."""
        with self._ready:
            if not self._ready.wait_for(lambda: self._bytes or self._ended, timeout):
                raise PipeTimeout
            return self._take(nbytes)

    def empty(self) -> bytes:
        """Take everything that is there."""
        with self._ready:
            return self._take(self._bytes)

    def read_ready(self) -> bool:
        """Say whether a read would return bytes at once."""
        return self._bytes > 0

    def close(self) -> None:
        """End the stream; what is there can still be read."""
        with self._ready:
            self._ended = True
            self._ready.notify_all()

    def __len__(self) -> int:
        return self._bytes

    def _take(self, nbytes: int) -> bytes:
        taken: list[bytes] = []
        left = nbytes
        while self._pieces and left:
            piece = self._pieces.popleft()
            if len(piece) > left:
                self._pieces.appendleft(piece[left:])
                piece = piece[:left]
            taken.append(piece)
            left -= len(piece)
        self._bytes -= nbytes - left
        return taken[0] if len(taken) == 1 else b"".join(taken)


def stream_through(channel: paramiko.Channel) -> None:
    """Give ``channel`` a ChunkPipe; call it before the command starts, while nothing can arrive."""
    channel.in_buffer = cast("BufferedPipe[bytes]", ChunkPipe())
    channel.in_window_threshold = channel.in_window_size // _WINDOW_SHARE
