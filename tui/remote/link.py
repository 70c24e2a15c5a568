"""A byte pipe to a process on a target: subprocess pipes, or an SSH exec channel."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO, Protocol

#: A peer that takes no byte for this long is treated as gone.
WRITE_TIMEOUT_S = 15.0
_STDERR_LINES = 20


class Link(Protocol):
    """Two-way byte pipe; one thread reads while another writes, ``close`` may come from any."""

    def read(self, max_bytes: int) -> bytes:
        """Return at least one byte, or b"" at the end; blocks; raises OSError when the pipe broke."""

    def write(self, data: bytes) -> None:
        """Write all of ``data``; raises OSError when the pipe broke or nothing was taken for 15 s."""

    def close(self) -> None:
        """End the pipe and wake a blocked ``read``; may be called more than once."""

    def last_words(self) -> str:
        """Return what the far side said on stderr, for an error message."""


class LocalLink:
    """The pipes of a subprocess on this machine."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env) if env is not None else None,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin.fileno()
        self._stdout = self._process.stdout.fileno()
        os.set_blocking(self._stdin, False)
        self._closing = threading.Lock()
        self._reading = threading.Lock()
        self._closed = False
        # A blocked read does not wake when another thread closes its descriptor; this pipe does that.
        self._wake_read, self._wake_write = os.pipe()
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._drain = threading.Thread(target=self._read_stderr, name="finetui-link-stderr", daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        """The process at the other end."""
        return self._process.pid

    def read(self, max_bytes: int) -> bytes:
        """Return at least one byte, or b"" at the end."""
        with self._reading:
            if self._closed:
                return b""
            _wait({self._stdout: select.POLLIN, self._wake_read: select.POLLIN}, None)
            return b"" if self._closed else os.read(self._stdout, max_bytes)

    def write(self, data: bytes) -> None:
        """Write all of ``data``; raises OSError."""
        view = memoryview(data)
        while view:
            if self._closed:
                raise BrokenPipeError("the link is closed")
            if not _wait({self._stdin: select.POLLOUT}, WRITE_TIMEOUT_S):
                raise TimeoutError("the other side takes no bytes")
            with contextlib.suppress(BlockingIOError):
                view = view[os.write(self._stdin, view) :]

    def close(self) -> None:
        """End the process: closing its stdin is the relay's sign to leave; it is killed if it does not."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        os.write(self._wake_write, b"x")
        _close(self._process.stdin)
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._reading:
            _close(self._process.stdout)
            os.close(self._wake_read)
            os.close(self._wake_write)

    def last_words(self) -> str:
        """Return the end of the process's stderr."""
        if self._process.poll() is not None:
            self._drain.join(1.0)
        return "\n".join(self._stderr)

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            for line in iter(lambda: stderr.readline(4096), b""):
                self._stderr.append(line.decode("utf-8", "replace").rstrip())


def _wait(events: dict[int, int], timeout_s: float | None) -> bool:
    # poll rather than select: a descriptor number over 1023 is fine.
    poll = select.poll()
    for descriptor, mask in events.items():
        poll.register(descriptor, mask)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.close()
