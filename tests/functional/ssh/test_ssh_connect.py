"""Connecting to a real sshd: host keys, logins, ways there, and each way to fail."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.sshd import Laptop, PrivateSshd, make_key, public_key
from tests.fakes.waiting import wait_for
from tui.errors import Unreachable
from tui.remote import ssh, ssh_dial
from tui.remote.known_hosts import fingerprint
from tui.remote.ssh_ask import Ask, HostKeyQuestion, nobody_to_ask


def answers(host_key: bool = False, passphrase: str | None = None) -> tuple[Ask, list[object]]:
    """Return callbacks with fixed answers and the list of what they were asked."""
    asked: list[object] = []

    def on_host_key(question: HostKeyQuestion) -> bool:
        asked.append(question)
        return host_key

    def on_passphrase(path: Path) -> str | None:
        asked.append(path)
        return passphrase

    return Ask(on_host_key, on_passphrase), asked


def refused(address: str, ask: Ask | None = None) -> Unreachable:
    """Connect, expect to be turned away, and check that the message can be acted on."""
    with pytest.raises(Unreachable) as caught:
        ssh.connect(address, ask or nobody_to_ask()).close()
    error = caught.value
    assert error.exit_code == 3
    assert error.cause, "no cause"
    assert error.remedy, "no remedy"
    return error


def add_to_agent(agent: Path, key: Path) -> None:
    subprocess.run(["ssh-add", "-q", key], env={**os.environ, "SSH_AUTH_SOCK": str(agent)}, check=True)


def open_descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_a_command_runs_with_its_input_its_output_and_its_exit_code(sshd: PrivateSshd, closing) -> None:
    machine = closing(ssh.connect(sshd.address, nobody_to_ask()))
    data = os.urandom(3_000_000)
    code, out, err = machine.run("cat; echo oops >&2; exit 3", data)
    assert (code, out, err) == (3, data, b"oops")
    assert machine.run("kill -9 $$")[0] == -1


def test_the_cipher_is_aes_gcm_and_the_socket_is_ours(sshd: PrivateSshd, closing) -> None:
    machine = closing(ssh.connect(sshd.address, nobody_to_ask()))
    transport = machine._transport
    assert transport.remote_cipher == transport.local_cipher == "aes128-gcm@openssh.com"
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert transport.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


class TestHostKeys:
    def test_an_unknown_key_is_shown_with_its_fingerprint_and_remembered(
        self, sshd: PrivateSshd, laptop: Laptop, closing
    ) -> None:
        laptop.known_hosts.unlink()
        ask, asked = answers(host_key=True)
        closing(ssh.connect(sshd.address, ask))
        (question,) = asked
        assert isinstance(question, HostKeyQuestion)
        assert question.fingerprint == fingerprint(base64.b64decode(public_key(sshd.host_keys[0])[1]))
        assert question.host == f"[127.0.0.1]:{sshd.port}"
        assert question.file.read_text().startswith(question.host)
        assert not laptop.known_hosts.exists(), "the user's own file was written"
        ask, asked = answers()
        closing(ssh.connect(sshd.address, ask))
        assert asked == []

    def test_no_means_no_and_nothing_is_remembered(self, sshd: PrivateSshd, laptop: Laptop) -> None:
        laptop.known_hosts.unlink()
        ask, asked = answers(host_key=False)
        error = refused(sshd.address, ask)
        assert "not known" in error.message
        assert "SHA256:" in error.cause
        assert len(asked) == 1
        assert not (laptop.folder / "finetui/config/known_hosts").exists()
        assert "Accepted publickey" not in sshd.log.read_text(), "logged in before the host key was verified"

    def test_a_user_who_takes_longer_than_the_server_waits_is_connected_all_the_same(
        self, sshd: PrivateSshd, laptop: Laptop, closing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ssh_dial, "PATIENCE_S", 0.1)
        sshd.stop()
        sshd.options.append("LoginGraceTime 1")
        sshd.start()
        laptop.known_hosts.unlink()
        asked = []

        def think(question: HostKeyQuestion) -> bool:
            asked.append(question)
            wait_for(lambda: not sshd.sessions(), "the server to hang up")
            return True

        machine = closing(ssh.connect(sshd.address, Ask(think, lambda path: None)))
        assert machine.run("echo hello")[1] == b"hello\n"
        assert len(asked) == 1

    def test_with_strict_checking_nobody_is_asked(self, sshd: PrivateSshd, laptop: Laptop) -> None:
        laptop.known_hosts.unlink()
        laptop.configure("StrictHostKeyChecking yes")
        ask, asked = answers(host_key=True)
        assert "not known" in refused(sshd.address, ask).message
        assert asked == []

    @pytest.mark.parametrize("setting", ["no", "accept-new", "off"])
    def test_lax_checking_in_the_configuration_still_asks(
        self, sshd: PrivateSshd, laptop: Laptop, setting: str
    ) -> None:
        laptop.known_hosts.unlink()
        laptop.configure(f"StrictHostKeyChecking {setting}")
        ask, asked = answers(host_key=False)
        refused(sshd.address, ask)
        assert len(asked) == 1

    def test_a_changed_key_is_refused_with_file_and_line(
        self, sshd: PrivateSshd, laptop: Laptop, tmp_path: Path
    ) -> None:
        kind, blob = public_key(make_key(tmp_path / "other"))
        laptop.known_hosts.write_text(f"# first line\n[127.0.0.1]:{sshd.port} {kind} {blob}\n")
        ask, asked = answers(host_key=True)
        error = refused(sshd.address, ask)
        assert "has changed" in error.message
        assert f"{laptop.known_hosts}:2" in error.cause
        assert "ssh-keygen" in error.remedy
        assert asked == []
        assert "Accepted publickey" not in sshd.log.read_text()

    def test_a_revoked_key_is_refused_although_it_is_known(self, sshd: PrivateSshd, laptop: Laptop) -> None:
        laptop.know(sshd, marker="@revoked")
        error = refused(sshd.address, answers(host_key=True)[0])
        assert "revoked" in error.message
        assert f"{laptop.known_hosts}:2" in error.cause

    def test_a_certificate_authority_line_is_skipped_with_a_note(
        self, sshd: PrivateSshd, laptop: Laptop, closing
    ) -> None:
        laptop.known_hosts.unlink()
        laptop.know(sshd, marker="@cert-authority")
        assert "certificate authority" in refused(sshd.address).cause
        laptop.know(sshd)
        closing(ssh.connect(sshd.address, nobody_to_ask()))

    def test_the_known_type_is_asked_for_when_the_server_has_several(
        self, tmp_path: Path, laptop: Laptop, closing
    ) -> None:
        keys = [
            make_key(tmp_path / "k1"),
            make_key(tmp_path / "k2", "ecdsa"),
            make_key(tmp_path / "k3", "rsa"),
        ]
        for number in range(3):
            server = PrivateSshd(tmp_path / f"pod{number}", host_keys=keys)
            server.authorize(laptop.key)
            laptop.known_hosts.unlink(missing_ok=True)
            laptop.know(server, key=number)
            with server:
                closing(ssh.connect(server.address, nobody_to_ask()))

    def test_an_alias_keeps_the_key_of_a_pod_whose_port_moves(
        self, sshd: PrivateSshd, laptop: Laptop, closing
    ) -> None:
        laptop.known_hosts.unlink()
        closing(ssh.connect(sshd.address, answers(host_key=True)[0], host_key_alias="runpod:abc"))
        sshd.stop()
        sshd.port = PrivateSshd(sshd.folder.parent / "moved", host_keys=sshd.host_keys).port
        sshd.start()
        closing(ssh.connect(sshd.address, nobody_to_ask(), host_key_alias="runpod:abc"))
        assert "not known" in refused(sshd.address).message


class TestLogin:
    def test_a_key_that_is_not_accepted_is_named(
        self, sshd: PrivateSshd, laptop: Laptop, tmp_path: Path
    ) -> None:
        other = make_key(tmp_path / "id_other")
        laptop.configure(key=other)
        error = refused(sshd.address)
        assert "accepts none" in error.message
        assert str(other) in error.cause
        assert fingerprint(base64.b64decode(public_key(other)[1])) in error.cause
        assert "authorized_keys" in error.remedy

    def test_without_any_key_the_remedy_is_to_make_one(self, sshd: PrivateSshd, laptop: Laptop) -> None:
        laptop.configure(key=laptop.folder / "absent")
        error = refused(sshd.address)
        assert "no SSH key" in error.message
        assert "ssh-keygen" in error.remedy

    def test_a_locked_key_is_asked_for_once_even_over_reconnects(
        self, sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing
    ) -> None:
        locked = make_key(tmp_path / "id_locked", passphrase="open sesame")
        sshd.authorize(locked)
        laptop.configure(key=locked)
        ask, asked = answers(passphrase="open sesame")
        closing(ssh.connect(sshd.address, ask))
        closing(ssh.connect(sshd.address, ask))
        assert asked == [locked]

    def test_a_wrong_passphrase_is_said_and_asked_again(
        self, sshd: PrivateSshd, laptop: Laptop, tmp_path: Path
    ) -> None:
        locked = make_key(tmp_path / "id_locked", passphrase="open sesame")
        laptop.configure(key=locked)
        ask, asked = answers(passphrase="nope")
        assert "wrong passphrase" in refused(sshd.address, ask).cause
        assert asked == [locked] * 3
        assert "none was given" in refused(sshd.address, answers(passphrase=None)[0]).cause

    def test_an_unlocked_key_that_works_means_no_question(
        self, sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing
    ) -> None:
        locked = make_key(tmp_path / "id_locked", passphrase="open sesame")
        laptop.configure(f"IdentityFile {locked}")
        ask, asked = answers()
        closing(ssh.connect(sshd.address, ask))
        assert asked == []

    @pytest.mark.parametrize("only", ["yes", "no"])
    def test_keys_of_the_agent(
        self, sshd: PrivateSshd, laptop: Laptop, only: str, closing, agent: Path
    ) -> None:
        held, extra = make_key(laptop.folder / "id_held"), make_key(laptop.folder / "id_extra")
        sshd.authorize(held)
        for key in (extra, held):
            add_to_agent(agent, key)
        public = held.with_name("id_held.pub")
        held.unlink()
        lines = [f"IdentityAgent {agent}", f"IdentitiesOnly {only}"]
        # With IdentitiesOnly, the file of the public half says which of the agent's keys to use.
        laptop.configure(*lines, key=public if only == "yes" else laptop.folder / "absent")
        closing(ssh.connect(sshd.address, nobody_to_ask()))
        offered = sshd.log.read_text().count("Failed publickey")
        assert offered == (0 if only == "yes" else 1)

    def test_a_configured_key_comes_before_a_full_agent(
        self, sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing, agent: Path
    ) -> None:
        for number in range(8):
            key = make_key(tmp_path / f"id_{number}")
            add_to_agent(agent, key)
        laptop.configure(f"IdentityAgent {agent}", "IdentitiesOnly no")
        closing(ssh.connect(sshd.address, nobody_to_ask()))
        laptop.configure(f"IdentityAgent {agent}", "IdentitiesOnly no", key=laptop.folder / "absent")
        error = refused(sshd.address)
        assert "IdentitiesOnly" in error.remedy

    def test_a_dead_agent_is_told_of_and_does_not_stop_the_files(
        self, sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing
    ) -> None:
        laptop.configure(f"IdentityAgent {tmp_path}/nobody")
        closing(ssh.connect(sshd.address, nobody_to_ask()))
        laptop.configure(f"IdentityAgent {tmp_path}/nobody", key=laptop.folder / "absent")
        assert "does not answer" in refused(sshd.address).cause

    def test_a_server_without_keys_is_named(self, tmp_path: Path, laptop: Laptop) -> None:
        server = PrivateSshd(tmp_path / "pod", options=["PubkeyAuthentication no"])
        server.options.append("PasswordAuthentication yes")
        laptop.know(server)
        with server:
            error = refused(server.address)
        assert "does not take SSH keys" in error.message or "closed the connection" in error.message


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """An empty ssh-agent of our own."""
    path = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not path.exists() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    yield path
    process.terminate()
    process.wait()


class TestWays:
    def test_through_a_jump_host(self, sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing) -> None:
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
            link = machine.open_link("sleep 60")
            jump.kill_sessions()
            start = time.monotonic()
            assert link.read(10) == b""
            assert time.monotonic() - start < 1.0
            assert not machine.alive

    def test_through_two_jump_hosts_each_with_its_own_key_check(
        self, sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing
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

    def test_a_jump_host_that_does_not_reach_the_machine(self, sshd: PrivateSshd, laptop: Laptop) -> None:
        laptop.configure(f"Host pod\n  HostName 127.0.0.1\n  Port 1\n  ProxyJump {sshd.address}\n")
        assert "jump host" in refused("pod").message

    def test_jump_hosts_in_a_circle(self, sshd: PrivateSshd, laptop: Laptop) -> None:
        laptop.configure("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
        assert "jump hosts" in refused("a").message

    def test_through_a_proxy_command_whose_death_is_noticed_without_spinning(
        self, sshd: PrivateSshd, laptop: Laptop, closing
    ) -> None:
        laptop.configure(f"Host 127.0.0.1\n  ProxyCommand {_relay_command()} %h %p\n")
        machine = closing(ssh.connect(sshd.address, nobody_to_ask()))
        assert machine.run("echo hello")[1] == b"hello\n"
        (proxy,) = machine._route.proxies
        link = machine.open_link("sleep 60")
        proxy.process.kill()
        start, cpu = time.monotonic(), time.process_time()
        assert link.read(10) == b""
        assert time.monotonic() - start < 1.0
        assert not machine.alive
        threading.Event().wait(0.5)
        assert time.process_time() - cpu < 0.25, "spinning on a dead proxy"
        machine.close()
        assert proxy.process.returncode is not None, "not reaped"

    def test_a_proxy_command_that_fails_is_quoted(self, sshd: PrivateSshd, laptop: Laptop) -> None:
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


class TestNoWay:
    def test_a_name_that_does_not_resolve(self, laptop: Laptop) -> None:
        assert "does not resolve" in refused("root@no-such-host.invalid").message

    def test_nobody_listens(self, laptop: Laptop, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        assert "refuses" in refused(f"root@127.0.0.1:{port}").message

    def test_a_silent_machine_is_given_up_in_time(
        self, laptop: Laptop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ssh_dial, "HANDSHAKE_TIMEOUT_S", 0.5)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            start = time.monotonic()
            error = refused(f"root@127.0.0.1:{silent.getsockname()[1]}")
            assert time.monotonic() - start < 3.0
        assert "does not speak SSH" in error.message

    def test_a_full_backlog_times_out(self, laptop: Laptop) -> None:
        laptop.configure("ConnectTimeout 1")
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            waiting = [socket.socket() for _ in range(4)]
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(full.getsockname())
            error = refused(f"root@127.0.0.1:{full.getsockname()[1]}")
            for sock in waiting:
                sock.close()
        assert "does not answer" in error.message

    def test_what_is_no_sshd_is_said_to_be_none(self, laptop: Laptop) -> None:
        with socket.create_server(("127.0.0.1", 0)) as web:

            def serve() -> None:
                client, _ = web.accept()
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                client.close()

            threading.Thread(target=serve, daemon=True).start()
            assert "does not speak SSH" in refused(f"root@127.0.0.1:{web.getsockname()[1]}").message

    def test_runpods_proxy_is_refused_with_the_way_that_works(self, laptop: Laptop) -> None:
        error = refused("abc-123@ssh.runpod.io")
        assert "SSH over exposed TCP" in error.remedy

    def test_nothing_of_paramiko_reaches_the_terminal(
        self, laptop: Laptop, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:

            def hang_up() -> None:
                probe.accept()[0].close()

            threading.Thread(target=hang_up, daemon=True).start()
            refused(f"root@127.0.0.1:{probe.getsockname()[1]}")
        captured = capfd.readouterr()
        assert captured.out + captured.err == ""

    def test_no_thread_and_no_descriptor_is_left_behind(self, sshd: PrivateSshd, laptop: Laptop) -> None:
        ssh.connect(sshd.address, nobody_to_ask()).close()
        laptop.configure(key=laptop.folder / "absent")
        before = open_descriptors(), threading.active_count()
        for _ in range(5):
            refused(sshd.address)
        deadline = time.monotonic() + 5
        while (open_descriptors(), threading.active_count()) > before:
            assert time.monotonic() < deadline, threading.enumerate()
            threading.Event().wait(0.02)
