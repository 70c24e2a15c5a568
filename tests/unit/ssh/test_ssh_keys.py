"""Private key files of every kind that ssh-keygen writes."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from tests.fakes.sshd import make_key, public_key
from tui.remote.ssh_keys import KeyProblem, is_locked, load_key, public_blob

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")


# ssh-keygen writes ed25519 keys in its own form only.
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("ed25519", "OpenSSH"),
        *((kind, form) for kind in ("ecdsa", "rsa") for form in ("OpenSSH", "PEM", "PKCS8")),
    ],
)
@pytest.mark.parametrize("passphrase", ["", "open sesame é"])
def test_every_key_and_form_loads(tmp_path: Path, kind: str, form: str, passphrase: str) -> None:
    options = ["-m", form] if form != "OpenSSH" else []
    options += ["-b", "2048"] if kind == "rsa" else []
    path = make_key(tmp_path / "key", kind, passphrase, *options)
    expected = base64.b64decode(public_key(path)[1])
    assert is_locked(path) is bool(passphrase)
    assert public_blob(path) == expected
    assert load_key(path, passphrase or None).asbytes() == expected
    if passphrase:
        for wrong in ("no", None):
            with pytest.raises(KeyProblem):
                load_key(path, wrong)


def test_the_public_half_of_a_locked_key_is_known_without_its_pub_file(tmp_path: Path) -> None:
    path = make_key(tmp_path / "key", passphrase="x y z")
    expected = base64.b64decode(public_key(path)[1])
    path.with_name("key.pub").unlink()
    assert public_blob(path) == expected


def test_a_public_key_alone_names_a_key_of_the_agent(tmp_path: Path) -> None:
    path = make_key(tmp_path / "key")
    assert public_blob(tmp_path / "key.pub") == base64.b64decode(public_key(path)[1])
    with pytest.raises(KeyProblem, match="agent"):
        load_key(tmp_path / "key.pub", None)


def test_a_certificate_beside_the_key_is_used(tmp_path: Path) -> None:
    import subprocess

    authority, path = make_key(tmp_path / "ca"), make_key(tmp_path / "key")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", "root", tmp_path / "key.pub"], check=True
    )
    key = load_key(path, None)
    assert key.public_blob is not None
    assert key.public_blob.key_type == "ssh-ed25519-cert-v01@openssh.com"


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"-----BEGIN OPENSSH PRIVATE KEY-----\n!!\n", b"\x00" * 999]
)
def test_what_is_no_key_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    assert not is_locked(tmp_path / "key")
    assert public_blob(tmp_path / "key") is None
    with pytest.raises(KeyProblem, match="not a private key"):
        load_key(tmp_path / "key", None)


def test_absent_files_are_absent(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "key")
    assert public_blob(tmp_path / "key") is None
    with pytest.raises(FileNotFoundError):
        load_key(tmp_path / "key", None)
