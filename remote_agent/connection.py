"""One client: frames in, replies and streams out; replies first, streams round robin.

Nothing is queued for a slow client but the replies it asked for: a subscription is asked for its next frame
when the socket has room.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from remote_agent.errors import AgentError, from_os_error
from remote_agent.methods import Agent, Result, call
from remote_agent.protocol import FAILED, Frame, FrameReader, ProtocolError, encode

#: A live client pings after 5 s of silence.
SILENCE_LIMIT_S = 120.0
#: Requests that a client may have unanswered; then nothing more is read from it.
MAX_REQUESTS = 64
#: Time for replies on their way when the client has hung up.
FLUSH_LIMIT_S = 10.0
CHUNK_BYTES = 64 * 1024
INTERNAL_ERROR = -32603
INVALID_REQUEST = -32600


class Stream(Protocol):
    """A subscription as the writer sees it."""

    sub: int

    @property
    def due(self) -> float | None:
        """When to ask for a frame, in seconds of the connection's clock; None until something wakes it."""

    @property
    def closed(self) -> bool:
        """Whether nothing will come any more."""

    def take(self, now: float) -> bytes | None:
        """Return the next frame, None when there is nothing yet."""

    def ack(self, offset: int, credit: int | None = None) -> None:
        """Note that the client consumed all bytes up to ``offset``, and the credit it gives now."""

    def close(self) -> None:
        """Let go of what it holds."""


class Connection:
    """Serves one client until it hangs up, breaks the protocol or falls silent."""

    def __init__(
        self,
        agent: Agent,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.agent = agent
        self.streams: dict[int, Stream] = {}
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._replies: deque[bytes] = deque()
        self._slots = asyncio.Semaphore(MAX_REQUESTS)
        self._tasks: set[asyncio.Task[Result]] = set()
        self._wake = asyncio.Event()
        self._last_byte = clock()
        self._subs = 0
        self._watchdog: asyncio.TimerHandle | None = None

    async def serve(self) -> None:
        """Read requests and write answers until the connection ends."""
        self._check_silence()
        pump = asyncio.create_task(self._write())
        try:
            await self._read()
            self._close_streams()
            await self._flush(pump)
        except (ProtocolError, ConnectionError):
            pass  # not ours any more, or gone: closing is the whole answer
        finally:
            if self._watchdog is not None:
                self._watchdog.cancel()
            pump.cancel()
            for task in self._tasks:
                task.cancel()
            self._close_streams()
            self._writer.close()

    def hang_up(self) -> None:
        """Close from our side; ``serve`` returns."""
        self._writer.transport.abort()

    def finish(self) -> None:
        """Read nothing more; ``serve`` returns when the replies on their way are out."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]
        self._reader.feed_eof()

    def next_sub(self) -> int:
        """Return a subscription id that this connection has not used."""
        self._subs += 1
        return self._subs

    def add(self, stream: Stream) -> None:
        """Have the writer serve ``stream``."""
        self.streams[stream.sub] = stream
        self.wake()

    def wake(self) -> None:
        """Tell the writer that a stream may have something."""
        self._wake.set()

    async def _read(self) -> None:
        frames = FrameReader()
        while data := await self._reader.read(CHUNK_BYTES):
            self._last_byte = self._clock()
            for frame in frames.feed(data):
                await self._dispatch(frame)

    async def _dispatch(self, frame: Frame) -> None:
        if "id" not in frame.header:
            self._notified(frame.header)
            return
        await self._slots.acquire()
        request = frame.header["id"]
        task = asyncio.create_task(call(self, frame))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._answered(request, done))

    def _notified(self, header: dict[str, Any]) -> None:
        """Handle a notification; JSON-RPC leaves the ones that make no sense unanswered."""
        params = header.get("params")
        if header.get("method") == "sub.ack" and isinstance(params, dict):
            sub, offset, credit = params.get("sub"), params.get("o"), params.get("credit")
            if type(sub) is int and type(offset) is int and sub in self.streams:
                self.streams[sub].ack(offset, credit if type(credit) is int else None)
                self.wake()

    def _answered(self, request: object, task: asyncio.Task[Result]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        header: dict[str, Any] = {"jsonrpc": "2.0", "id": request}
        if error is None:
            result = task.result()
            self._reply({**header, "result": result.value}, result.payload)
            return
        self._reply({**header, "error": self._explain(error)})

    def _explain(self, error: BaseException) -> dict[str, Any]:
        if isinstance(error, AgentError):
            return error.to_wire()
        if isinstance(error, OSError):
            return from_os_error(error, "do that").to_wire()
        # A defect of ours: the traceback goes to agentd.log, the client learns where to look.
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "a request failed", "exception": error})
        return {
            "code": INTERNAL_ERROR,
            "message": f"the agent failed: {type(error).__name__}",
            "data": {"remedy": f"see {self.agent.places.agentd_log}"},
        }

    def _reply(self, header: dict[str, Any], payload: bytes = b"") -> None:
        try:
            frame = encode(header, payload)
        except ValueError as error:
            failure = AgentError(FAILED, f"the answer can't be sent: {error}")
            frame = encode({"jsonrpc": "2.0", "id": header["id"], "error": failure.to_wire()})
        self._replies.append(frame)
        self.wake()

    async def _write(self) -> None:
        while True:
            self._wake.clear()
            if self._replies:
                self._writer.write(self._replies.popleft())
                self._slots.release()
            elif (frame := self._next_frame()) is not None:
                self._writer.write(frame)
            else:
                await self._wait()
                continue
            await self._writer.drain()
            await asyncio.sleep(0)  # drain alone does not let others run while the socket has room

    def _next_frame(self) -> bytes | None:
        """Return a frame of the first stream that has one, and move that stream to the end of the row."""
        now = self._clock()
        for sub, stream in list(self.streams.items()):
            frame = stream.take(now)
            if frame is None:
                continue
            del self.streams[sub]
            if not stream.closed:
                self.streams[sub] = stream
            return frame
        return None

    async def _wait(self) -> None:
        """Sleep until somebody wakes us or a stream is due."""
        dues = [stream.due for stream in self.streams.values() if stream.due is not None]
        timer = None
        if dues:
            delay = max(0.0, min(dues) - self._clock())
            timer = asyncio.get_running_loop().call_later(delay, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _flush(self, pump: asyncio.Task[None]) -> None:
        """Let requests in flight finish and their replies leave, for a while."""
        deadline = self._clock() + FLUSH_LIMIT_S
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FLUSH_LIMIT_S)
        await asyncio.sleep(0)  # the callbacks of finished tasks queue their replies
        while self._replies and not pump.done() and self._clock() < deadline:
            await asyncio.sleep(0.01)

    def _check_silence(self) -> None:
        silence = self._clock() - self._last_byte
        if silence >= SILENCE_LIMIT_S:
            self.hang_up()
            return
        loop = asyncio.get_running_loop()
        self._watchdog = loop.call_later(SILENCE_LIMIT_S - silence, self._check_silence)

    def _close_streams(self) -> None:
        for stream in self.streams.values():
            stream.close()
        self.streams.clear()


def uid_of_peer(writer: asyncio.StreamWriter) -> int:
    """Return the user id of the process at the other end of a unix socket."""
    peer = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def is_own_peer(writer: asyncio.StreamWriter) -> bool:
    """Say whether the process at the other end runs as our own user."""
    return uid_of_peer(writer) == os.getuid()
