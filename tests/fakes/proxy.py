"""A TCP proxy on 127.0.0.1 that cuts, stalls, delays and slows what passes through it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field

_CHUNK_BYTES = 16 * 1024


@dataclass
class _Pipe:
    """One direction of one connection: what was read and when it may leave."""

    source: socket.socket
    sink: socket.socket
    upstream: bool
    queue: deque[tuple[float, bytes]] = field(default_factory=deque)
    bytes: int = 0


class FaultyProxy:
    """Forwards to ``target_port``; every fault applies to open and later connections alike."""

    def __init__(self, target_port: int, *, delay_s: float = 0.0, rate_bytes_s: float = 0.0) -> None:
        self.target_port = target_port
        #: One way, each way.
        self.delay_s = delay_s
        #: 0: without a limit.
        self.rate_bytes_s = rate_bytes_s
        self.refusing = False
        self._changed = threading.Condition()
        self._stalled = False
        self._cut_after: int | None = None
        self._sockets: set[socket.socket] = set()
        self.connections = 0
        self.bytes_down = 0
        self.bytes_up = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset every connection, as a router that lost its state does."""
        with self._changed:
            sockets, self._sockets = self._sockets, set()
            self._changed.notify_all()
        for sock in sockets:
            _reset(sock)

    def cut_after(self, down_bytes: int) -> None:
        """Cut once this many more bytes have come down from the target."""
        with self._changed:
            self._cut_after = self.bytes_down + down_bytes

    def cut_after_up(self, up_bytes: int) -> None:
        """Cut once this many more bytes have gone up to the target."""
        with self._changed:
            self._cut_after_up = self.bytes_up + up_bytes

    _cut_after_up: int | None = None

    def stall(self) -> None:
        """Forward nothing any more and tell nobody: a black hole."""
        with self._changed:
            self._stalled = True

    def resume(self) -> None:
        with self._changed:
            self._stalled = False
            self._changed.notify_all()

    def wait_down(self, total_bytes: int, timeout_s: float = 10.0) -> None:
        """Wait until this many bytes have come down in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.bytes_down >= total_bytes, timeout_s), "too few bytes"

    def close(self) -> None:
        self.resume()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                _reset(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), 5.0)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self.connections += 1
                self._sockets |= {client, server}
            for pipe in (_Pipe(client, server, True), _Pipe(server, client, False)):
                threading.Thread(target=self._read, args=(pipe,), daemon=True).start()
                threading.Thread(target=self._write, args=(pipe,), daemon=True).start()

    def _read(self, pipe: _Pipe) -> None:
        while True:
            try:
                data = pipe.source.recv(_CHUNK_BYTES)
            except OSError:
                data = b""
            with self._changed:
                # A bounded queue keeps the backpressure that a real link has.
                self._changed.wait_for(lambda: len(pipe.queue) < 64 or pipe.source.fileno() < 0)
                pipe.queue.append((time.monotonic() + self.delay_s, data))
                self._changed.notify_all()
            if not data:
                return

    def _write(self, pipe: _Pipe) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: pipe.queue and not self._stalled)
                due, data = pipe.queue.popleft()
                self._changed.notify_all()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                with contextlib.suppress(OSError):
                    pipe.sink.shutdown(socket.SHUT_WR)
                return
            data, cut = self._count(pipe, data)
            try:
                pipe.sink.sendall(data)
            except OSError:
                data = b""
            if cut:
                self.cut()
                return
            if self.rate_bytes_s:
                time.sleep(len(data) / self.rate_bytes_s)

    def _count(self, pipe: _Pipe, data: bytes) -> tuple[bytes, bool]:
        """Count ``data`` and shorten it at the byte where the connection is to be cut."""
        with self._changed:
            seen = self.bytes_up if pipe.upstream else self.bytes_down
            limit = self._cut_after_up if pipe.upstream else self._cut_after
            cut = limit is not None and seen + len(data) >= limit
            if cut and limit is not None:
                data = data[: limit - seen]
                self._cut_after = self._cut_after_up = None
            if pipe.upstream:
                self.bytes_up += len(data)
            else:
                self.bytes_down += len(data)
            self._changed.notify_all()
        return data, cut


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Shutdown first: closing alone does not wake a thread that waits in recv().
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
