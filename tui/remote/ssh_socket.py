"""The socket under an SSH connection: plain TCP, or a proxy command's socket pair."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass

from tui.errors import Unreachable
from tui.remote.ssh_streams import Tail

RESOLVE_TIMEOUT_S = 10.0
#: Unacknowledged data for this long means the peer is gone (Linux); noticed after 13-14 s where measured.
_USER_TIMEOUT_MS = 10_000
_KEEPALIVE_IDLE_S, _KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT = 5, 3, 3


@dataclass(frozen=True)
class ProxyCommand:
    """A running ProxyCommand; ``socket`` is our end of the pair that is its stdin and stdout.

    paramiko's own ProxyCommand spins a core and stays "active" for ever once the helper dies.
    """

    socket: socket.socket
    process: subprocess.Popen[bytes]
    stderr: Tail

    def close(self) -> None:
        """End the helper with everything it started, and reap it."""
        self.socket.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1.0)
                return


def start_proxy_command(command: str) -> ProxyCommand:
    """Start ``command`` as OpenSSH does: by ``exec`` in the shell; raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    stderr = Tail()
    assert process.stderr is not None
    pipe = process.stderr
    stderr.drain(lambda: os.read(pipe.fileno(), 4096), "finetui-proxy-stderr", on_end=pipe.close)
    return ProxyCommand(ours, process, stderr)


def connect_tcp(host: str, port: int, timeout_s: float) -> socket.socket:
    """Return a connected socket with our options; raises Unreachable with the cause and the remedy."""
    failure: OSError | None = None
    for family, kind, protocol, _, address in _resolve(host, port):
        candidate = socket.socket(family, kind, protocol)
        try:
            _set_options(candidate)
            candidate.settimeout(timeout_s)
            candidate.connect(address)
            return candidate
        except OSError as error:
            candidate.close()
            failure = failure or error
    raise _connect_failure(host, port, timeout_s, failure)


def _resolve(
    host: str, port: int
) -> list[
    tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]
]:
    """Look ``host`` up in a thread of its own: getaddrinfo knows no timeout."""
    found: list[object] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=look_up, name="finetui-resolve", daemon=True)
    thread.start()
    thread.join(RESOLVE_TIMEOUT_S)
    result = (
        found[0] if found else TimeoutError(f"no answer from the name server in {RESOLVE_TIMEOUT_S:.0f} s")
    )
    if isinstance(result, list) and result:
        return result
    raise Unreachable(
        f"{host} does not resolve",
        cause=_reason(result) if isinstance(result, Exception) else "no address",
        remedy="check the spelling, add the host to ~/.ssh/config, or check this machine's network",
    )


def _set_options(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # TCP_KEEPALIVE is what macOS calls TCP_KEEPIDLE; TCP_USER_TIMEOUT is Linux only.
    for name, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_S),
        ("TCP_KEEPALIVE", _KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", _KEEPALIVE_COUNT),
        ("TCP_USER_TIMEOUT", _USER_TIMEOUT_MS),
    ):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _connect_failure(host: str, port: int, timeout_s: float, error: OSError | None) -> Unreachable:
    where = f"{host}:{port}"
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(
            f"{where} refuses the connection",
            cause="nothing listens on that port",
            remedy="check the port (a pod's changes with every restart) and that the machine runs sshd",
        )
    if isinstance(error, TimeoutError):
        return Unreachable(
            f"{where} does not answer",
            cause=f"no answer in {timeout_s:.0f} s",
            remedy="check that the machine is running, and that no firewall is in the way",
        )
    return Unreachable(
        f"{where} can't be reached",
        cause=_reason(error) if error else "no address",
        remedy="check this machine's network and the address",
    )


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
