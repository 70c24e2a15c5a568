"""Connecting as tests do it: with fixed answers, or to be turned away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.errors import Unreachable
from tui.remote import ssh
from tui.remote.ssh_ask import Ask, HostKeyQuestion, nobody_to_ask


def answers(host_key: bool = False, passphrase: str | None = None) -> tuple[Ask, list[object]]:
    """Return callbacks with fixed answers and the list of what they were asked."""
    asked: list[object] = []

    def on_host_key(question: HostKeyQuestion) -> bool:
        asked.append(question)
        return host_key

    def on_passphrase(path: Path) -> str | None:
        asked.append(path)
        return passphrase

    return Ask(on_host_key, on_passphrase), asked


def refused(address: str, ask: Ask | None = None) -> Unreachable:
    """Connect, expect to be turned away, and check that the message can be acted on."""
    with pytest.raises(Unreachable) as caught:
        ssh.connect(address, ask or nobody_to_ask()).close()
    error = caught.value
    assert error.exit_code == 3
    assert error.cause, "no cause"
    assert error.remedy, "no remedy"
    return error
