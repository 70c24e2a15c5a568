"""The key that logs in to a pod: one per pod, made here, never the account's."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tui.errors import FinetuiError
from tui.paths import config_dir, private_dir

_MARKER = re.compile(r"[0-9a-f]{12}")


def make_key(marker: str) -> str:
    """Make the key of the pod with this marker (0600) and return its public half; raises FinetuiError."""
    private = ed25519.Ed25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    line = public.decode("ascii") + " finetui"
    path = _path(marker)
    private_dir(path.parent)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
        path.with_name(path.name + ".pub").write_text(line + "\n")
    except OSError as error:
        raise FinetuiError(f"can't write {path}", cause=error.strerror or str(error)) from error
    return line


def find_key(marker: str) -> Path | None:
    """Return the private key of the pod with this marker, None when it was not rented from this laptop."""
    if not _MARKER.fullmatch(marker):
        return None
    path = _path(marker)
    return path if path.exists() else None


def forget_key(marker: str) -> None:
    """Remove the key of a pod that is gone."""
    if _MARKER.fullmatch(marker):
        shutil.rmtree(folder_of(marker), ignore_errors=True)


def folder_of(marker: str) -> Path:
    """Return the directory of what this laptop keeps of the pod with this marker."""
    return config_dir() / "pods" / marker


def _path(marker: str) -> Path:
    return folder_of(marker) / "id_ed25519"
