"""A laptop and a private sshd that knows its key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.sshd import Laptop, PrivateSshd


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laptop:
    """The client's side, with one key and an empty known_hosts file."""
    return Laptop(tmp_path / "laptop", monkeypatch)


@pytest.fixture
def sshd(tmp_path: Path, laptop: Laptop) -> Iterator[PrivateSshd]:
    """A running server that takes the laptop's key and that the laptop knows."""
    state = tmp_path / "pod-state"
    server = PrivateSshd(
        tmp_path / "pod",
        env={"FINETUI_STATE_DIR": str(state), "FINETUI_RUNTIME_DIR": str(tmp_path / "run")},
    )
    server.authorize(laptop.key)
    laptop.know(server)
    with server:
        yield server
