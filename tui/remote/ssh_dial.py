"""The way to a machine: sockets, jump hosts and proxy commands, host key and login, in that order.

paramiko's Transport under the rules that keep it honest: own socket (no delay, keepalive, user timeout),
AES-GCM first, only the server starts a rekey, the host key is verified before the login, jump hosts are
nested transports and proxy commands run behind a socket pair.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

import paramiko
from paramiko.packet import Packetizer
from paramiko.ssh_exception import IncompatiblePeer

from tui.errors import Unreachable
from tui.remote.ssh_ask import Ask, Waiting
from tui.remote.ssh_auth import authenticate
from tui.remote.ssh_config import Address, Own, SshConfig, effective_config
from tui.remote.ssh_host_keys import known_hosts_for, prefer_known_types, verify
from tui.remote.ssh_socket import ProxyCommand, connect_tcp, start_proxy_command

HANDSHAKE_TIMEOUT_S = 20.0
CHANNEL_TIMEOUT_S = 15.0
_LOGIN_TIMEOUT_S = 30.0
#: After waiting this long for an answer, a connection that failed is tried once more.
PATIENCE_S = 20.0
_MAX_HOPS = 8
#: Half the processor time of the default (aes128-ctr with hmac-sha2-256) and twice its speed.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
#: RunPod's proxy has neither file transfer nor commands without a terminal.
_SHELL_PROXIES = ("ssh.runpod.io",)

# Without a handler, Python prints paramiko's tracebacks to the user's terminal.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class _PatientPacketizer(Packetizer):
    """Leaves rekeying to the server: a rekey of ours can hang a closing channel (paramiko issue 822)."""

    REKEY_BYTES = REKEY_PACKETS = 2**62


class Route:
    """An open way to one machine; ``transport`` is its last and logged-in hop."""

    transport: paramiko.Transport
    config: SshConfig

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.proxies: list[ProxyCommand] = []

    def add_socket(self, sock: socket.socket) -> None:
        """Take ``sock`` into care: it is cut before anything else is closed."""
        self._sockets.append(sock)
        self._stack.callback(sock.close)

    def add_proxy(self, proxy: ProxyCommand) -> None:
        """Take a helper process into care."""
        self._stack.callback(proxy.close)
        self._sockets.append(proxy.socket)
        self.proxies.append(proxy)

    def add_transport(self, transport: paramiko.Transport) -> None:
        """Take ``transport`` into care."""
        self._stack.callback(_stop, transport)

    def close(self) -> None:
        """Cut the sockets first, so that nothing waits for a dead network, then end everything else."""
        with self._lock:
            stack, self._stack = self._stack, contextlib.ExitStack()
            sockets, self._sockets = self._sockets, []
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        stack.close()


def dial(address: Address, ask: Ask, own: Own) -> Route:
    """Open a way to ``address``; raises InvalidInput for a broken configuration and Unreachable otherwise."""
    waiting = Waiting(ask)
    try:
        return _dial(address, waiting.ask, own)
    except Unreachable:
        # Servers hang up on who has not logged in after LoginGraceTime (120 s): the user was reading.
        if not waiting.go_on or waiting.seconds < PATIENCE_S:
            raise
    return _dial(address, ask, own)


def _dial(address: Address, ask: Ask, own: Own) -> Route:
    route = Route()
    try:
        _open(route, address, ask, own, _MAX_HOPS)
    except BaseException:
        route.close()
        raise
    return route


def _open(route: Route, address: Address, ask: Ask, own: Own, hops: int) -> None:
    config = own.applied(effective_config(address))
    if hops == 0:
        raise Unreachable(
            f"too many jump hosts before {config.where}",
            cause=f"more than {_MAX_HOPS}, so they probably go in a circle",
            remedy="look at the ProxyJump lines of ~/.ssh/config",
        )
    _refuse_shell_proxies(config)
    if config.proxy_jump:
        first, *others = config.proxy_jump
        _open(route, first, ask, Own(), hops - 1)
        for jump in others:
            _start(route, effective_config(jump), _through(route.transport, effective_config(jump)), ask)
        _start(route, config, _through(route.transport, config), ask)
    else:
        _start(route, config, _socket(route, config), ask)


def _refuse_shell_proxies(config: SshConfig) -> None:
    if config.hostname.lower() in _SHELL_PROXIES:
        raise Unreachable(
            f"{config.hostname} can't be used",
            cause="RunPod's proxy gives a terminal only: no commands, no file transfer",
            remedy='take the address under "SSH over exposed TCP" (root@IP:PORT), or write runpod:POD',
        )


def _socket(route: Route, config: SshConfig) -> socket.socket:
    if not config.proxy_command:
        sock = connect_tcp(config.hostname, config.port, config.connect_timeout_s)
        route.add_socket(sock)
        return sock
    try:
        proxy = start_proxy_command(config.proxy_command)
    except OSError as error:
        raise Unreachable(f"the ProxyCommand for {config.where} does not start", cause=str(error)) from error
    route.add_proxy(proxy)
    return proxy.socket


def _through(jump: paramiko.Transport, config: SshConfig) -> paramiko.Channel:
    try:
        return jump.open_channel(
            "direct-tcpip", (config.hostname, config.port), ("127.0.0.1", 0), timeout=CHANNEL_TIMEOUT_S
        )
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise Unreachable(
            f"the jump host does not reach {config.where}",
            cause=str(error),
            remedy="check that the machine runs and that the jump host allows forwarding",
        ) from error


def _start(route: Route, config: SshConfig, sock: socket.socket | paramiko.Channel, ask: Ask) -> None:
    """Handshake, verify the host key, log in; only then is the hop part of ``route``."""
    transport = paramiko.Transport(sock, packetizer_class=_PatientPacketizer)
    route.add_transport(transport)
    transport.banner_timeout = transport.handshake_timeout = HANDSHAKE_TIMEOUT_S
    transport.auth_timeout = _LOGIN_TIMEOUT_S
    transport.get_security_options().ciphers = _CIPHERS
    known = known_hosts_for(config)
    prefer_known_types(transport, known, config)
    done = threading.Event()
    transport.start_client(event=done)
    done.wait(HANDSHAKE_TIMEOUT_S)
    if not (transport.is_active() and transport.initial_kex_done):
        raise _handshake_failure(route, config, transport.get_exception())
    verify(transport, known, config, ask)
    authenticate(transport, config, ask)
    route.transport, route.config = transport, config


def _handshake_failure(route: Route, config: SshConfig, error: Exception | None) -> Unreachable:
    said = "; ".join(text for proxy in route.proxies if (text := proxy.stderr.text(wait_s=0.5)))
    if said:
        return Unreachable(
            f"the ProxyCommand does not reach {config.where}",
            cause=said,
            remedy=f"run it by hand: {config.proxy_command}"
            if config.proxy_command
            else "check the ProxyCommand",
        )
    if isinstance(error, IncompatiblePeer):
        return Unreachable(
            f"{config.where} and finetui share no algorithm",
            cause=str(error),
            remedy="update the machine's sshd: it offers only what is no longer safe",
        )
    return Unreachable(
        f"{config.where} does not speak SSH",
        cause=str(error or "") or f"no handshake in {HANDSHAKE_TIMEOUT_S:.0f} s",
        remedy="check the port; a machine that is still starting needs a few seconds more",
    )


def _stop(transport: paramiko.Transport) -> None:
    # A nested transport says goodbye over a socket that is cut already.
    with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
        transport.close()
    if transport.is_alive():
        transport.join(1.0)
