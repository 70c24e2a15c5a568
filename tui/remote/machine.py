"""A machine that commands can be run on; ``tui.remote.ssh.SshMachine`` is the other one."""

from __future__ import annotations

import subprocess
from typing import Protocol

from tui.errors import RemoteError
from tui.remote.link import Link, LocalLink


class Machine(Protocol):
    """Runs commands through a shell and leads to ports of the machine's loopback."""

    def open_link(self, command: str) -> Link:
        """Start ``command`` and return its pipes."""

    def run(self, command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> tuple[int, bytes, bytes]:
        """Run a short command; return its exit code, stdout and stderr."""

    def forward(self, remote_port: int) -> int:
        """Return a port of this laptop's loopback that leads to ``remote_port`` there."""

    def close(self) -> None:
        """Let go of the machine, with all links and forwards."""


class LocalMachine:
    """This machine."""

    def open_link(self, command: str) -> LocalLink:
        """Start ``command`` in a shell of its own session."""
        return LocalLink(["/bin/sh", "-c", command])

    def run(self, command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> tuple[int, bytes, bytes]:
        """Run a short command; raises RemoteError when it does not end in time."""
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", command], input=stdin, capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RemoteError(f"a command did not end in {timeout_s:g} s", cause=command[:200]) from error
        return done.returncode, done.stdout, done.stderr

    def forward(self, remote_port: int) -> int:
        """Return the port itself: it is on this loopback already."""
        return remote_port

    def close(self) -> None:
        """Nothing is held."""
