"""Fixtures for conftest files: a laptop, and a private sshd that knows its key: the pod."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remote_agent.documents import read_json
from remote_agent.identity import Identity, Proc, send
from remote_agent.places import Places
from remote_agent.sweep import carriers, kill_all
from tests.fakes.agent_processes import end_agentd
from tests.fakes.sshd import Laptop, PrivateSshd
from tui.remote.ssh import SshMachine, connect
from tui.remote.ssh_ask import nobody_to_ask


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laptop:
    """The client's side, with one key and an empty known_hosts file."""
    return Laptop(tmp_path / "laptop", monkeypatch)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    """Where the pod's agent keeps its things; nothing of it lives on after the test."""
    with pod_places(tmp_path / "pod-state", tmp_path / "environments") as places:
        yield places


@contextlib.contextmanager
def pod_places(state: Path, environments: Path) -> Iterator[Places]:
    """Give places of an agent, and end everything that lives there."""
    # A unix socket's path may have 107 bytes; a test's own folder can be longer.
    runtime = Path(tempfile.mkdtemp(prefix="finetui-test-"))
    places = Places(state, runtime, environments)
    try:
        yield places
    finally:
        end_agentd(places)
        end_runs(places)
        shutil.rmtree(runtime, ignore_errors=True)


def end_runs(places: Places) -> None:
    """Kill what is left of every run, in whatever state it is."""
    proc = Proc()
    for path in places.runs.iterdir() if places.runs.exists() else ():
        record = read_json(path / "proc.json") or {}
        supervisor = Identity.from_json(record.get("supervisor"))
        if supervisor is not None:
            send(supervisor, signal.SIGKILL, proc)
        cookie = record.get("cookie")
        if cookie:
            kill_all(proc, lambda cookie=cookie: carriers(proc, cookie), lambda: None)


@pytest.fixture
def sshd(tmp_path: Path, laptop: Laptop, places: Places) -> Iterator[PrivateSshd]:
    """A running server that takes the laptop's key and that the laptop knows."""
    server = PrivateSshd(tmp_path / "pod", env=places.as_environment())
    server.authorize(laptop.key)
    laptop.know(server)
    with server:
        yield server


@pytest.fixture
def machine(sshd: PrivateSshd) -> Iterator[SshMachine]:
    """A connection to the pod."""
    machine = connect(sshd.address, nobody_to_ask())
    yield machine
    machine.close()


@pytest.fixture
def closing() -> Iterator[Callable[[SshMachine], SshMachine]]:
    """Close what a test connected, when the test is over."""
    machines: list[SshMachine] = []

    def keep(machine: SshMachine) -> SshMachine:
        machines.append(machine)
        return machine

    yield keep
    for machine in machines:
        machine.close()
