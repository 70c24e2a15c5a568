"""Every way not to reach a machine: one message with the cause and the remedy, nothing left behind."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from tests.fakes.ssh_client import refused
from tests.fakes.sshd import Laptop, PrivateSshd
from tui.remote import ssh, ssh_dial
from tui.remote.ssh_ask import nobody_to_ask


def open_descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_a_name_that_does_not_resolve(laptop: Laptop) -> None:
    assert "does not resolve" in refused("root@no-such-host.invalid").message


def test_nobody_listens(laptop: Laptop, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert "refuses" in refused(f"root@127.0.0.1:{port}").message


def test_a_silent_machine_is_given_up_in_time(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_dial, "HANDSHAKE_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = refused(f"root@127.0.0.1:{silent.getsockname()[1]}")
    assert "does not speak SSH" in error.message


def test_a_full_backlog_times_out(laptop: Laptop) -> None:
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


def test_what_is_no_sshd_is_said_to_be_none(laptop: Laptop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:

        def serve() -> None:
            client, _ = web.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        threading.Thread(target=serve, daemon=True).start()
        assert "does not speak SSH" in refused(f"root@127.0.0.1:{web.getsockname()[1]}").message


def test_runpods_proxy_is_refused_with_the_way_that_works(laptop: Laptop) -> None:
    error = refused("abc-123@ssh.runpod.io")
    assert "SSH over exposed TCP" in error.remedy


def test_nothing_of_paramiko_reaches_the_terminal(laptop: Laptop, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:

        def hang_up() -> None:
            probe.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        refused(f"root@127.0.0.1:{probe.getsockname()[1]}")
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_no_thread_and_no_descriptor_is_left_behind(sshd: PrivateSshd, laptop: Laptop) -> None:
    ssh.connect(sshd.address, nobody_to_ask()).close()
    laptop.configure(key=laptop.folder / "absent")
    before = open_descriptors(), threading.active_count()
    for _ in range(5):
        refused(sshd.address)
    deadline = time.monotonic() + 60
    while (open_descriptors(), threading.active_count()) > before:
        assert time.monotonic() < deadline, threading.enumerate()
        threading.Event().wait(0.02)
