"""The way to a real sshd: direct, over jump hosts, through a proxy command."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.fakes.ssh_client import refused
from tests.fakes.sshd import Laptop, PrivateSshd
from tui.errors import RemoteError
from tui.remote import ssh
from tui.remote.ssh_ask import nobody_to_ask


def test_a_command_runs_with_its_input_its_output_and_its_exit_code(sshd: PrivateSshd, closing) -> None:
    machine = closing(ssh.connect(sshd.address, nobody_to_ask()))
    data = os.urandom(3_000_000)
    code, out, err = machine.run("cat; echo oops >&2; exit 3", data)
    assert (code, out, err) == (3, data, b"oops")
    assert machine.run("kill -9 $$")[0] == -1


def test_a_command_that_does_not_end_or_never_stops_printing_is_given_up(machine: ssh.SshMachine) -> None:
    for command, timeout_s, said in (("sleep 600", 0.3, "did not end"), ("yes", 120.0, "printed more")):
        with pytest.raises(RemoteError, match=said):
            machine.run(command, timeout_s=timeout_s)
    assert machine.run("echo still here")[1] == b"still here\n"


def test_the_cipher_is_aes_gcm_and_the_socket_is_ours(sshd: PrivateSshd, closing) -> None:
    machine = closing(ssh.connect(sshd.address, nobody_to_ask()))
    transport = machine._transport
    assert transport.remote_cipher == transport.local_cipher == "aes128-gcm@openssh.com"
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert transport.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_through_a_jump_host(sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing) -> None:
    jump = PrivateSshd(tmp_path / "jump")
    jump.authorize(laptop.key)
    laptop.know(jump)
    laptop.configure(
        "Host pod",
        f"  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n  ProxyJump {jump.address}",
    )
    with jump:
        machine = closing(ssh.connect("pod", nobody_to_ask()))
        assert machine.run("echo hello")[1] == b"hello\n"
        assert "Accepted publickey" in jump.log.read_text()
        link = machine.open_link("sleep 600")
        jump.kill_sessions()
        assert link.read(10) == b"", "and it does not wait for the command"
        assert not machine.alive


def test_through_two_jump_hosts_each_with_its_own_key_check(
    sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing
) -> None:
    first, second = PrivateSshd(tmp_path / "jump1"), PrivateSshd(tmp_path / "jump2")
    for jump in (first, second):
        jump.authorize(laptop.key)
    laptop.know(first)
    laptop.configure(
        f"Host pod\n  HostName 127.0.0.1\n  Port {sshd.port}",
        f"  ProxyJump {first.address},{second.address}\n",
    )
    with first, second:
        assert f"[127.0.0.1]:{second.port}" in refused("pod").message
        laptop.know(second)
        machine = closing(ssh.connect("pod", nobody_to_ask()))
        assert machine.run("echo hello")[1] == b"hello\n"


def test_a_jump_host_that_does_not_reach_the_machine(sshd: PrivateSshd, laptop: Laptop) -> None:
    laptop.configure(f"Host pod\n  HostName 127.0.0.1\n  Port 1\n  ProxyJump {sshd.address}\n")
    assert "jump host" in refused("pod").message


def test_jump_hosts_in_a_circle(sshd: PrivateSshd, laptop: Laptop) -> None:
    laptop.configure("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
    assert "jump hosts" in refused("a").message


def test_through_a_proxy_command_whose_death_is_noticed_without_spinning(
    sshd: PrivateSshd, laptop: Laptop, closing
) -> None:
    laptop.configure(f"Host 127.0.0.1\n  ProxyCommand {_relay_command()} %h %p\n")
    machine = closing(ssh.connect(sshd.address, nobody_to_ask()))
    assert machine.run("echo hello")[1] == b"hello\n"
    (proxy,) = machine._route.proxies
    link = machine.open_link("sleep 600")
    proxy.process.kill()
    cpu = time.process_time()
    assert link.read(10) == b""
    assert not machine.alive
    threading.Event().wait(0.5)
    assert time.process_time() - cpu < 0.25, "spinning on a dead proxy"
    machine.close()
    assert proxy.process.returncode is not None, "not reaped"


def test_a_proxy_command_that_fails_is_quoted(sshd: PrivateSshd, laptop: Laptop) -> None:
    laptop.configure("Host 127.0.0.1\n  ProxyCommand sh -c 'echo no way >&2; exit 1'\n")
    error = refused(sshd.address)
    assert "ProxyCommand" in error.message
    assert "no way" in error.cause


def _relay_command() -> str:
    """Return a ProxyCommand that joins stdio to a TCP port, as `nc` would."""
    code = (
        "import os,socket,sys,threading\n"
        "s=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
        "def up():\n"
        "  while d:=os.read(0,65536): s.sendall(d)\n"
        "threading.Thread(target=up,daemon=True).start()\n"
        "while d:=s.recv(65536): os.write(1,d)\n"
    )
    script = Path(os.environ["FINETUI_HOME"]).parent / "proxy.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(code)
    return f"python3 {script}"
