"""What connecting may have to ask the user; the command line and the TUI each answer in their own way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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


class Waiting:
    """Measures how long the user took, and whether the last answer was one to go on with."""

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self.seconds = 0.0
        self.go_on = False
        #: The same questions, measured.
        self.ask = replace(ask, host_key=self._host_key, passphrase=self._passphrase)

    def _host_key(self, question: HostKeyQuestion) -> bool:
        start = self._clock()
        self.go_on = self._ask.host_key(question)
        self.seconds += self._clock() - start
        return self.go_on

    def _passphrase(self, path: Path) -> str | None:
        start = self._clock()
        passphrase = self._ask.passphrase(path)
        self.go_on = passphrase is not None
        self.seconds += self._clock() - start
        return passphrase


def nobody_to_ask() -> Ask:
    """Return callbacks that decline, for scripts: unknown host keys are refused, locked keys skipped."""
    return Ask(host_key=lambda question: False, passphrase=lambda path: None)
