"""Private key files: what they are before they are unlocked, and paramiko keys from them."""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

_OPENSSH_MAGIC = b"openssh-key-v1\0"
_OPENSSH_BEGIN, _OPENSSH_END = b"-----BEGIN OPENSSH PRIVATE KEY-----", b"-----END OPENSSH PRIVATE KEY-----"
#: Larger files are no keys (an RSA key of 16384 bits has 13 kB).
_MAX_KEY_BYTES = 256 * 1024


class KeyProblem(Exception):
    """A key file that can't be used; the text says why."""


def public_blob(path: Path) -> bytes | None:
    """Return the public half without unlocking: from ``path.pub`` or the OpenSSH header, or None."""
    for candidate in (path, path.with_name(path.name + ".pub")):
        try:
            words = _read(candidate).split()
        except OSError:
            continue
        if len(words) >= 2 and words[0].startswith((b"ssh-", b"ecdsa-", b"sk-")):
            try:
                return base64.b64decode(words[1], validate=True)
            except binascii.Error:
                continue
    header = _openssh_header(path)
    return header[1] if header else None


def is_locked(path: Path) -> bool:
    """Say whether the private key at ``path`` needs a passphrase; False also when there is none."""
    header = _openssh_header(path)
    if header is not None:
        return header[0] != b"none"
    try:
        data = _read(path)
    except OSError:
        return False
    return b"Proc-Type: 4,ENCRYPTED" in data or b"BEGIN ENCRYPTED PRIVATE KEY" in data


def load_key(path: Path, passphrase: str | None) -> paramiko.PKey:
    """Load a private key of any format that OpenSSH reads, with its certificate if one lies beside it.

    Raises OSError, and KeyProblem for a wrong passphrase or a key that only an ssh-agent can use.
    """
    data = _read(path)
    if data.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        raise KeyProblem("a public key whose private half is not in the ssh-agent")
    password = passphrase.encode() if passphrase is not None else None
    private: object
    try:
        if _OPENSSH_BEGIN in data:
            private = serialization.load_ssh_private_key(data, password)
        else:
            private = serialization.load_pem_private_key(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyProblem(_why(data, passphrase, error)) from error
    key = _for_paramiko(private)
    certificate = path.with_name(path.name + "-cert.pub")
    if certificate.exists():
        key.load_certificate(str(certificate))
    return key


def _for_paramiko(private: object) -> paramiko.PKey:
    kind: type[paramiko.PKey]
    if isinstance(private, ed25519.Ed25519PrivateKey):
        kind = paramiko.Ed25519Key
    elif isinstance(private, rsa.RSAPrivateKey):
        kind = paramiko.RSAKey
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        kind = paramiko.ECDSAKey
    else:
        raise KeyProblem(f"keys of type {type(private).__name__} are not supported")
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    # paramiko reads neither PKCS #8 nor every cipher of OpenSSH's format; its plain form it always reads.
    return kind.from_private_key(io.StringIO(text.decode("ascii")))


def _why(data: bytes, passphrase: str | None, error: Exception) -> str:
    if b"sk-ssh-ed25519@openssh.com" in _body(data) or b"sk-ecdsa-sha2" in _body(data):
        return "a hardware key: add it to your ssh-agent with ssh-add"
    return "wrong passphrase" if passphrase is not None else f"not a private key that can be read ({error})"


def _openssh_header(path: Path) -> tuple[bytes, bytes] | None:
    """Return the cipher name and the public blob of a file in OpenSSH's format (PROTOCOL.key), or None."""
    try:
        body = _body(_read(path))
    except OSError:
        return None
    if not body.startswith(_OPENSSH_MAGIC):
        return None
    cipher, rest = _string(body[len(_OPENSSH_MAGIC) :])
    _, rest = _string(rest)
    _, rest = _string(rest)
    public, _ = _string(rest[4:])
    return cipher, public


def _body(data: bytes) -> bytes:
    start, end = data.find(_OPENSSH_BEGIN), data.find(_OPENSSH_END)
    if start < 0 or end < 0:
        return b""
    try:
        return base64.b64decode(data[start + len(_OPENSSH_BEGIN) : end])
    except binascii.Error:
        return b""


def _string(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "big")
    return data[4 : 4 + length], data[4 + length :]


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_KEY_BYTES)
