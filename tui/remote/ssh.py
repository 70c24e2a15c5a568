"""SSH connections to a machine: commands, links and forwarded ports over one logged-in transport."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import paramiko

from tui.errors import RemoteError, Unreachable
from tui.remote.ssh_ask import Ask
from tui.remote.ssh_config import Own, parse_address
from tui.remote.ssh_dial import CHANNEL_TIMEOUT_S, Route, dial
from tui.remote.ssh_forward import Forward
from tui.remote.ssh_link import SshLink
from tui.remote.ssh_pipe import stream_through
from tui.remote.time_limit import time_limit

RUN_TIMEOUT_S = 60.0
#: Output of one short command; more is a command that should not be run this way.
MAX_OUTPUT_BYTES = 4 * 1024 * 1024


class SshMachine:
    """A logged-in connection; every method may be called from any thread."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._transport = route.transport
        self._lock = threading.Lock()
        self._forwards: list[Forward] = []
        self.config = route.config

    @property
    def where(self) -> str:
        """The machine for messages: ``user@host:port``."""
        return self.config.where

    @property
    def alive(self) -> bool:
        """False once the connection is known to be gone."""
        return self._transport.is_active()

    def open_link(self, command: str) -> SshLink:
        """Start ``command`` through the login shell, no terminal; raises Unreachable or RemoteError."""
        channel = self._open_session()
        stream_through(channel)
        try:
            # paramiko waits for the answer to this without a limit.
            with time_limit(CHANNEL_TIMEOUT_S, self.close):
                channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(error) from error
        return SshLink(channel, drop=self.close)

    def run(
        self, command: str, stdin: bytes = b"", timeout_s: float = RUN_TIMEOUT_S
    ) -> tuple[int, bytes, bytes]:
        """Run a short command; return its exit code and the ends of its output.

        Raises Unreachable when the connection fails and RemoteError when the command does not end in
        ``timeout_s`` or prints more than 4 MiB.
        """
        link = self.open_link(command)
        try:
            with time_limit(timeout_s, link.close) as late:
                feeder = threading.Thread(
                    target=_feed, args=(link, stdin), name="finetui-ssh-stdin", daemon=True
                )
                feeder.start()
                out = _collect(link)
                code = link.exit_code(timeout_s)
        finally:
            link.close()
        if late.is_set():
            raise RemoteError(
                f"a command on {self.where} did not end in {timeout_s:.0f} s", cause=command[:200]
            )
        if not self.alive:
            raise self._lost(None)
        return (-1 if code is None else code), out, link.last_words().encode()

    def forward(self, remote_port: int) -> int:
        """Return a port of this machine's loopback that leads to ``remote_port`` of the target's loopback."""
        forward = Forward(self._open_direct, remote_port)
        with self._lock:
            self._forwards.append(forward)
        return forward.port

    def close(self) -> None:
        """End the connection with all links and forwards; returns at once even with the network down."""
        with self._lock:
            forwards, self._forwards = self._forwards, []
        for forward in forwards:
            forward.close()
        self._route.close()

    def _open_session(self) -> paramiko.Channel:
        try:
            return self._transport.open_session(timeout=CHANNEL_TIMEOUT_S)
        except paramiko.ChannelException as error:
            raise RemoteError(
                f"{self.where} opens no further session",
                cause=error.text,
                remedy="close other finetui windows on this machine, or raise MaxSessions in its sshd",
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(error) from error

    def _open_direct(self, port: int) -> paramiko.Channel:
        return self._transport.open_channel(
            "direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0), timeout=CHANNEL_TIMEOUT_S
        )

    def _lost(self, error: Exception | None) -> Unreachable:
        reason = str(error or self._transport.get_exception() or "") or "the connection ended"
        return Unreachable(
            f"lost the connection to {self.where}",
            cause=reason,
            remedy="check the network and try again",
        )


def connect(address: str, ask: Ask, *, host_key_alias: str = "", identity: Path | None = None) -> SshMachine:
    """Connect and log in to ``address``, an alias of the SSH configuration or ``user@host:port``.

    ``host_key_alias`` is the name under which the host key is kept, for machines whose address changes;
    ``identity`` the only key to offer. Raises InvalidInput for a malformed address or configuration,
    HostKeyProblem and Unreachable for everything else.
    """
    return SshMachine(dial(parse_address(address), ask, Own(host_key_alias, identity)))


def _feed(link: SshLink, data: bytes) -> None:
    # A command that does not read its input ends the channel; its exit code tells the story.
    with contextlib.suppress(OSError):
        link.write(data)
        link.end_input()


def _collect(link: SshLink) -> bytes:
    out = bytearray()
    while data := link.read(65536):
        out += data
        if len(out) > MAX_OUTPUT_BYTES:
            raise RemoteError(
                f"a command printed more than {MAX_OUTPUT_BYTES} bytes",
                cause=bytes(out[:200]).decode("utf-8", "replace"),
            )
    return bytes(out)
