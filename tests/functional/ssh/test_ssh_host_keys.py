"""Host keys of a real sshd: known, asked about, pinned, changed, revoked."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.fakes.ssh_client import answers, refused
from tests.fakes.sshd import Laptop, PrivateSshd, make_key, public_key
from tests.fakes.waiting import wait_for
from tui.remote import ssh, ssh_dial
from tui.remote.known_hosts import fingerprint
from tui.remote.ssh_ask import Ask, HostKeyQuestion, nobody_to_ask


def test_an_unknown_key_is_shown_with_its_fingerprint_and_remembered(
    sshd: PrivateSshd, laptop: Laptop, closing
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


def test_no_means_no_and_nothing_is_remembered(sshd: PrivateSshd, laptop: Laptop) -> None:
    laptop.known_hosts.unlink()
    ask, asked = answers(host_key=False)
    error = refused(sshd.address, ask)
    assert "not known" in error.message
    assert "SHA256:" in error.cause
    assert len(asked) == 1
    assert not (laptop.folder / "finetui/config/known_hosts").exists()
    assert "Accepted publickey" not in sshd.log.read_text(), "logged in before the host key was verified"


def test_a_user_who_takes_longer_than_the_server_waits_is_connected_all_the_same(
    sshd: PrivateSshd, laptop: Laptop, closing, monkeypatch: pytest.MonkeyPatch
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


def test_with_strict_checking_nobody_is_asked(sshd: PrivateSshd, laptop: Laptop) -> None:
    laptop.known_hosts.unlink()
    laptop.configure("StrictHostKeyChecking yes")
    ask, asked = answers(host_key=True)
    assert "not known" in refused(sshd.address, ask).message
    assert asked == []


@pytest.mark.parametrize("setting", ["no", "accept-new", "off"])
def test_lax_checking_in_the_configuration_still_asks(
    sshd: PrivateSshd, laptop: Laptop, setting: str
) -> None:
    laptop.known_hosts.unlink()
    laptop.configure(f"StrictHostKeyChecking {setting}")
    ask, asked = answers(host_key=False)
    refused(sshd.address, ask)
    assert len(asked) == 1


def test_a_changed_key_is_refused_with_file_and_line(
    sshd: PrivateSshd, laptop: Laptop, tmp_path: Path
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


def test_a_revoked_key_is_refused_although_it_is_known(sshd: PrivateSshd, laptop: Laptop) -> None:
    laptop.know(sshd, marker="@revoked")
    error = refused(sshd.address, answers(host_key=True)[0])
    assert "revoked" in error.message
    assert f"{laptop.known_hosts}:2" in error.cause


def test_a_certificate_authority_line_is_skipped_with_a_note(
    sshd: PrivateSshd, laptop: Laptop, closing
) -> None:
    laptop.known_hosts.unlink()
    laptop.know(sshd, marker="@cert-authority")
    assert "certificate authority" in refused(sshd.address).cause
    laptop.know(sshd)
    closing(ssh.connect(sshd.address, nobody_to_ask()))


def test_the_known_type_is_asked_for_when_the_server_has_several(
    tmp_path: Path, laptop: Laptop, closing
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


def test_an_alias_keeps_the_key_of_a_pod_whose_port_moves(sshd: PrivateSshd, laptop: Laptop, closing) -> None:
    laptop.known_hosts.unlink()
    closing(ssh.connect(sshd.address, answers(host_key=True)[0], host_key_alias="runpod:abc"))
    sshd.stop()
    sshd.port = PrivateSshd(sshd.folder.parent / "moved", host_keys=sshd.host_keys).port
    sshd.start()
    closing(ssh.connect(sshd.address, nobody_to_ask(), host_key_alias="runpod:abc"))
    assert "not known" in refused(sshd.address).message
