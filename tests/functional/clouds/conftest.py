"""A RunPod account at a fake provider, and the adapters that talk to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.runpod import ManualClock, RunPodServer, Store
from tests.fakes.runpod.backing import SshdBacking
from tests.fakes.sshd import require_sshd
from tui.clouds.base import PodRequest
from tui.clouds.runpod_account import api_base, load_key
from tui.clouds.runpod_v2 import RunPodV2
from tui.operations import rent_ssh


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Store:
    store = Store(clock)
    clock.after_advance = store.settle
    return store


@pytest.fixture
def server(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunPodServer]:
    """The provider, with the key and the address where finetui looks for them."""
    with RunPodServer(store) as server:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", server.url)
        monkeypatch.setenv("RUNPOD_API_KEY", store.account_key)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


@pytest.fixture
def waits() -> list[float]:
    """What an adapter slept, in seconds."""
    return []


@pytest.fixture
def v2(server: RunPodServer, clock: ManualClock, waits: list[float]) -> RunPodV2:
    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    return RunPodV2(load_key(), api_base(), sleep)


@pytest.fixture
def request_for(clock: ManualClock):
    """Make a request for one RTX 4090, with what a test changes."""
    base = PodRequest(
        name="demo",
        marker="0123456789ab",
        gpu="NVIDIA GeForce RTX 4090",
        count=1,
        cloud="secure",
        image="runpod/pytorch:1.0.7-cu1281-torch280-ubuntu2404",
        container_disk_gib=20,
        volume_gib=50,
        public_key="ssh-ed25519 AAAA finetui",
        terminate_after=clock.now() + 3600,
        min_cuda="13.0",
    )
    return lambda **changes: replace(base, **changes)


@pytest.fixture
def backing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshdBacking]:
    """Real sshds for the pods; the user's own SSH configuration is out of the way."""
    require_sshd()
    config = tmp_path / "ssh_config"
    config.write_text("UserKnownHostsFile none\nGlobalKnownHostsFile none\n")
    monkeypatch.setenv("FINETUI_SSH_CONFIG", str(config))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(rent_ssh, "LOG_QUIET_S", 0.5)
    backing = SshdBacking(tmp_path / "pods")
    yield backing
    backing.close()
