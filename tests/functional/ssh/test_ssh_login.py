"""Logging in to a real sshd: which keys are offered, in which order, and what is asked."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ssh_client import answers, refused
from tests.fakes.sshd import Laptop, PrivateSshd, make_key, public_key
from tui.remote import ssh
from tui.remote.known_hosts import fingerprint
from tui.remote.ssh_ask import nobody_to_ask


def add_to_agent(agent: Path, key: Path) -> None:
    subprocess.run(["ssh-add", "-q", key], env={**os.environ, "SSH_AUTH_SOCK": str(agent)}, check=True)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """An empty ssh-agent of our own."""
    path = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    yield path
    process.terminate()
    process.wait()


def test_a_key_that_is_not_accepted_is_named(sshd: PrivateSshd, laptop: Laptop, tmp_path: Path) -> None:
    other = make_key(tmp_path / "id_other")
    laptop.configure(key=other)
    error = refused(sshd.address)
    assert "accepts none" in error.message
    assert str(other) in error.cause
    assert fingerprint(base64.b64decode(public_key(other)[1])) in error.cause
    assert "authorized_keys" in error.remedy


def test_without_any_key_the_remedy_is_to_make_one(sshd: PrivateSshd, laptop: Laptop) -> None:
    laptop.configure(key=laptop.folder / "absent")
    error = refused(sshd.address)
    assert "no SSH key" in error.message
    assert "ssh-keygen" in error.remedy


def test_a_locked_key_is_asked_for_once_even_over_reconnects(
    sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing
) -> None:
    locked = make_key(tmp_path / "id_locked", passphrase="open sesame")
    sshd.authorize(locked)
    laptop.configure(key=locked)
    ask, asked = answers(passphrase="open sesame")
    closing(ssh.connect(sshd.address, ask))
    closing(ssh.connect(sshd.address, ask))
    assert asked == [locked]


def test_a_wrong_passphrase_is_said_and_asked_again(
    sshd: PrivateSshd, laptop: Laptop, tmp_path: Path
) -> None:
    locked = make_key(tmp_path / "id_locked", passphrase="open sesame")
    laptop.configure(key=locked)
    ask, asked = answers(passphrase="nope")
    assert "wrong passphrase" in refused(sshd.address, ask).cause
    assert asked == [locked] * 3
    assert "none was given" in refused(sshd.address, answers(passphrase=None)[0]).cause


def test_an_unlocked_key_that_works_means_no_question(
    sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing
) -> None:
    locked = make_key(tmp_path / "id_locked", passphrase="open sesame")
    laptop.configure(f"IdentityFile {locked}")
    ask, asked = answers()
    closing(ssh.connect(sshd.address, ask))
    assert asked == []


@pytest.mark.parametrize("only", ["yes", "no"])
def test_keys_of_the_agent(sshd: PrivateSshd, laptop: Laptop, only: str, closing, agent: Path) -> None:
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
    sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing, agent: Path
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
    sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, closing
) -> None:
    laptop.configure(f"IdentityAgent {tmp_path}/nobody")
    closing(ssh.connect(sshd.address, nobody_to_ask()))
    laptop.configure(f"IdentityAgent {tmp_path}/nobody", key=laptop.folder / "absent")
    assert "does not answer" in refused(sshd.address).cause


def test_a_server_without_keys_is_named(tmp_path: Path, laptop: Laptop) -> None:
    server = PrivateSshd(tmp_path / "pod", options=["PubkeyAuthentication no"])
    server.options.append("PasswordAuthentication yes")
    laptop.know(server)
    with server:
        error = refused(server.address)
    assert "does not take SSH keys" in error.message or "closed the connection" in error.message
