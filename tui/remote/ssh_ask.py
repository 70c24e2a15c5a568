"""What connecting may have to ask the user; the command line and the TUI each answer in their own way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import paramiko


@dataclass(frozen=True)
class HostKeyQuestion:
    """A host key that nobody has vouched for; a yes is remembered in ``file``."""

    host: str
    key_type: str
    fingerprint: str
    file: Path


@dataclass(frozen=True)
class Ask:
    """Callbacks, called in the connecting thread; one object for as long as the user should be asked once.

    ``host_key`` returns whether to trust, ``passphrase`` the passphrase of a key file or None to skip it.
    ``unlocked`` holds keys already decrypted, so that a reconnect asks nothing.
    """

    host_key: Callable[[HostKeyQuestion], bool]
    passphrase: Callable[[Path], str | None]
    unlocked: dict[Path, paramiko.PKey] = field(default_factory=dict, repr=False, compare=False)


def nobody_to_ask() -> Ask:
    """Return callbacks that decline, for scripts: unknown host keys are refused, locked keys skipped."""
    return Ask(host_key=lambda question: False, passphrase=lambda path: None)
