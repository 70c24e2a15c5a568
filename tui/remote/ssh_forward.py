"""A loopback port on this machine that leads to a loopback port of the target."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

import paramiko

from tui.errors import RemoteError

_CHUNK_BYTES = 64 * 1024
_BACKLOG = 32
#: Opens a channel to a port of the target's loopback; raises paramiko.SSHException or OSError.
OpenChannel = Callable[[int], paramiko.Channel]


class Forward:
    """Listens on 127.0.0.1 only; each connection gets a channel of its own."""

    def __init__(self, open_channel: OpenChannel, remote_port: int) -> None:
        self._open_channel = open_channel
        self._remote_port = remote_port
        self._lock = threading.Lock()
        self._open: set[socket.socket | paramiko.Channel] = set()
        self._closed = False
        try:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        except OSError as error:
            raise RemoteError("can't open a local port for forwarding", cause=str(error)) from error
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name=f"finetui-forward-{self.port}", daemon=True).start()

    def close(self) -> None:
        """Stop listening and end the connections that are open."""
        with self._lock:
            self._closed = True
            ends, self._open = self._open, set()
        # Closing alone would not wake the thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in ends:
            _close(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), name="finetui-forward", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            channel = self._open_channel(self._remote_port)
        except (paramiko.SSHException, OSError, EOFError):
            # The client sees a closed connection, as it would with nothing listening on the target.
            client.close()
            return
        if not self._track(client, channel):
            return
        back = threading.Thread(
            target=_pump, args=(channel, client), name="finetui-forward-back", daemon=True
        )
        back.start()
        _pump(client, channel)
        back.join()
        with self._lock:
            self._open -= {client, channel}
        _close(client)
        _close(channel)

    def _track(self, client: socket.socket, channel: paramiko.Channel) -> bool:
        with self._lock:
            if not self._closed:
                self._open |= {client, channel}
                return True
        _close(client)
        _close(channel)
        return False


def _pump(source: socket.socket | paramiko.Channel, sink: socket.socket | paramiko.Channel) -> None:
    """Copy until the end of ``source``, then tell ``sink`` that no more comes; the way back lives on."""
    try:
        while data := source.recv(_CHUNK_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except (OSError, EOFError, paramiko.SSHException):
        _close(source)
        _close(sink)


def _close(end: socket.socket | paramiko.Channel) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        end.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        end.close()
