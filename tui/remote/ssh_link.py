"""A byte pipe to a command on the far side: one exec channel without a terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable

import paramiko

from tui.remote.link import WRITE_TIMEOUT_S
from tui.remote.ssh_streams import Tail

#: How long saying goodbye may take; a channel that can't say it is on a dead network.
_CLOSE_TIMEOUT_S = 1.0
#: One SSH packet; larger writes are cut here rather than copied again for each packet.
_CHUNK_BYTES = 32 * 1024


class SshLink:
    """``tui.remote.link.Link`` over an exec channel; ``drop`` cuts the connection that carries it."""

    def __init__(self, channel: paramiko.Channel, drop: Callable[[], None]) -> None:
        self._channel = channel
        self._drop = drop
        self._unread = b""
        self._closed = threading.Event()
        # recv and send share one timeout: read() just goes on waiting, write() gives up.
        channel.settimeout(WRITE_TIMEOUT_S)
        self._stderr = Tail()
        self._stderr.drain(self._read_stderr, "finetui-ssh-stderr")

    def read(self, max_bytes: int) -> bytes:
        """Return at least one byte, or b"" at the end, which a broken connection is too."""
        if self._unread:
            data, self._unread = self._unread[:max_bytes], self._unread[max_bytes:]
            return data
        return _recv(self._channel.recv, max_bytes, self._closed)

    def unread(self, data: bytes) -> None:
        """Put back bytes that the next ``read`` returns first; for the reading thread only."""
        self._unread = data + self._unread

    def write(self, data: bytes) -> None:
        """Write all of ``data``; raises OSError, TimeoutError when nothing was taken for 15 s."""
        view = memoryview(data)
        while view:
            try:
                sent = self._channel.send(bytes(view[:_CHUNK_BYTES]))
            except (paramiko.SSHException, EOFError) as error:
                raise BrokenPipeError(str(error) or "the SSH connection ended") from error
            if sent == 0:
                raise BrokenPipeError("the SSH channel is closed")
            view = view[sent:]

    def end_input(self) -> None:
        """Tell the command that no more input comes; raises OSError."""
        try:
            self._channel.shutdown_write()
        except (paramiko.SSHException, EOFError) as error:
            raise BrokenPipeError(str(error) or "the SSH connection ended") from error

    def exit_code(self, timeout_s: float) -> int | None:
        """Return the command's exit code, -1 when a signal or the network ended it, None while it runs."""
        if not self._channel.status_event.wait(timeout_s):
            return None
        return self._channel.exit_status

    def close(self) -> None:
        """End the channel and wake a blocked ``read`` or ``write``; returns within about a second, always."""
        if self._closed.is_set():
            return
        self._closed.set()
        # Saying goodbye can block behind a write into a dead network.
        goodbye = threading.Thread(target=self._say_goodbye, name="finetui-ssh-close", daemon=True)
        goodbye.start()
        goodbye.join(_CLOSE_TIMEOUT_S)
        if goodbye.is_alive():
            self._drop()

    def last_words(self) -> str:
        """Return the end of the command's stderr."""
        return self._stderr.text(wait_s=1.0 if self._channel.closed or self._channel.eof_received else 0.0)

    def _say_goodbye(self) -> None:
        try:
            self._channel.close()
        except (paramiko.SSHException, OSError, EOFError):
            self._drop()

    def _read_stderr(self) -> bytes:
        return _recv(self._channel.recv_stderr, 4096, self._closed)


def _recv(recv: Callable[[int], bytes], max_bytes: int, closed: threading.Event) -> bytes:
    while True:
        try:
            return recv(max_bytes)
        except TimeoutError:
            if closed.is_set():
                return b""
        except (paramiko.SSHException, EOFError):
            # The acknowledgement of what was read could not be sent any more.
            return b""
