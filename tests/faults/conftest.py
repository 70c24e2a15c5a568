"""A pod behind a faulty proxy, with the invariants that hold whatever dies."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_agent.places import Places
from tests.fakes.faulty_pod import FaultyPod
from tests.fakes.pod import closing, laptop, machine, places, sshd
from tests.fakes.proxy import FaultyProxy
from tests.fakes.sshd import Laptop, PrivateSshd

__all__ = ["closing", "laptop", "machine", "places", "sshd"]


@pytest.fixture
def pod(sshd: PrivateSshd, laptop: Laptop, places: Places, tmp_path: Path) -> Iterator[FaultyPod]:
    """The pod; after the test a process of somebody else must still be alive (I6)."""
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    with FaultyProxy(sshd.port) as proxy:
        laptop.know(sshd, port=proxy.port)
        pod = FaultyPod(sshd, proxy, places, tmp_path / "job")
        yield pod
        pod.clean()
    alive = bystander.poll() is None
    bystander.kill()
    bystander.wait()
    assert alive, "a process of somebody else was killed"
