"""The keys of model servers, kept on this laptop alone."""

from __future__ import annotations

import os
import secrets

from tui.errors import FinetuiError
from tui.paths import keys_dir, private_dir
from tui.state.run_id import is_run_id


def new_key() -> str:
    """Return a fresh key of 256 random bits."""
    return secrets.token_urlsafe(32)


def keep(run: str, key: str) -> None:
    """Write a server's key, readable by this user alone; raises FinetuiError."""
    path = private_dir(keys_dir()) / run
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(key)
    except OSError as error:
        raise FinetuiError(f"can't write {path}", cause=error.strerror or str(error)) from error


def find(run: str) -> str | None:
    """Return the key of a server that was launched from this laptop."""
    if not is_run_id(run):
        return None
    try:
        return (keys_dir() / run).read_text()
    except OSError:
        return None


def forget(run: str) -> None:
    """Remove a server's key."""
    if is_run_id(run):
        (keys_dir() / run).unlink(missing_ok=True)
