"""A loopback port of the laptop that leads to a loopback port of the pod."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.sshd import PrivateSshd
from tests.fakes.waiting import wait_for
from tui.remote import ssh
from tui.remote.ssh import SshMachine
from tui.remote.ssh_ask import nobody_to_ask


@pytest.fixture
def echo() -> Iterator[int]:
    """A server on loopback that returns everything once the client has said all; its port."""
    server = socket.create_server(("127.0.0.1", 0), backlog=64)

    def serve(client: socket.socket) -> None:
        with client:
            data = b""
            while part := client.recv(65536):
                data += part
            client.sendall(data)

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield int(server.getsockname()[1])
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def exchange(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10.0) as client:
        threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR))).start()
        answer = b""
        while part := client.recv(65536):
            answer += part
        return answer


def test_bytes_go_there_and_back_with_each_end_closing_on_its_own(machine: SshMachine, echo: int) -> None:
    data = os.urandom(3_000_000)
    assert exchange(machine.forward(echo), data) == data


def test_many_connections_at_once(machine: SshMachine, echo: int) -> None:
    port = machine.forward(echo)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: exchange(port, b"x" * number), range(1, 40)))
    assert [len(answer) for answer in answers] == list(range(1, 40))


def test_it_listens_on_loopback_only(machine: SshMachine, echo: int) -> None:
    port = machine.forward(echo)
    wanted = f":{port:04X}"
    listening = [
        line.split()[1]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(wanted)
    ]
    assert listening == [f"0100007F{wanted}"]


def test_nobody_at_the_far_end_closes_the_connection_and_only_that(machine: SshMachine, echo: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = probe.getsockname()[1]
    with socket.create_connection(("127.0.0.1", machine.forward(closed)), 10.0) as client:
        assert client.recv(1) == b""
    assert machine.alive
    assert exchange(machine.forward(echo), b"hello") == b"hello"


def test_closing_ends_the_port_and_its_connections(sshd: PrivateSshd, echo: int) -> None:
    machine = ssh.connect(sshd.address, nobody_to_ask())
    port = machine.forward(echo)
    client = socket.create_connection(("127.0.0.1", port), 10.0)
    client.sendall(b"x")
    wait_for(lambda: any("forward-back" in thread.name for thread in threading.enumerate()), "the channel")
    machine.close()
    assert client.recv(1) == b""
    client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10.0)
    wait_for(
        lambda: not any("finetui" in thread.name for thread in threading.enumerate()), "all threads to end"
    )


def test_a_lost_connection_ends_the_connections_of_the_port(
    machine: SshMachine, sshd: PrivateSshd, echo: int
) -> None:
    client = socket.create_connection(("127.0.0.1", machine.forward(echo)), 10.0)
    client.sendall(b"x")
    wait_for(lambda: any("forward-back" in thread.name for thread in threading.enumerate()), "the channel")
    sshd.kill_sessions()
    assert client.recv(1) == b""
