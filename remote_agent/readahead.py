"""A file stream whose reads happen in a thread: a hung volume stalls its own streams and nothing else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

from remote_agent.streams import FileStream

#: Read in one go: enough to hide the hop to a thread, and still a bound on what an idle client costs.
AHEAD_BYTES = 128 * 1024


class ReadAhead:
    """The stream that a connection sees; only one thread at a time touches the file stream inside."""

    def __init__(
        self,
        stream: FileStream,
        *,
        threads: Executor,
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.sub = stream.sub
        self._stream = stream
        self._threads = threads
        self._wake = wake
        self._clock = clock
        self._frames: deque[bytes] = deque()
        self._reading: asyncio.Future[list[bytes]] | None = None
        self._acked: tuple[int, int | None] | None = None
        self._abandoned = False

    @property
    def due(self) -> float | None:
        """When to ask for a frame; None while a thread reads, or while only an ack can make progress."""
        if self._frames:
            return 0.0
        return None if self._reading is not None else self._stream.due

    @property
    def closed(self) -> bool:
        """Whether the last frame has been taken."""
        if self._reading is not None or self._frames:
            return self._abandoned
        return self._stream.closed

    def take(self, now: float) -> bytes | None:
        """Return the next frame that was read; have more read when few are left."""
        due = None if self._reading is not None or self._stream.closed else self._stream.due
        if len(self._frames) <= 1 and due is not None and due <= now:
            self._reading = asyncio.get_running_loop().run_in_executor(self._threads, self._read)
            self._reading.add_done_callback(self._was_read)
        return self._frames.popleft() if self._frames else None

    def ack(self, offset: int, credit: int | None = None) -> None:
        """Note that the client consumed all bytes up to ``offset``; told to the stream between two reads."""
        if self._reading is None:
            self._stream.ack(offset, credit)
        else:
            self._acked = (offset, credit)

    def close(self) -> None:
        """Let go of the file, after a read that is under way."""
        self._abandoned = True
        self._frames.clear()
        if self._reading is None:
            self._stream.close()

    def _read(self) -> list[bytes]:
        frames: list[bytes] = []
        size = 0
        while size < AHEAD_BYTES and not self._stream.closed:
            frame = self._stream.take(self._clock())
            if frame is None:
                break
            frames.append(frame)
            size += len(frame)
        return frames

    def _was_read(self, reading: asyncio.Future[list[bytes]]) -> None:
        self._reading = None
        if self._abandoned or reading.cancelled():
            self._stream.close()
            return
        self._frames.extend(reading.result())
        if self._acked is not None:
            self._stream.ack(*self._acked)
            self._acked = None
        self._wake()
