"""A volume that fills up: the end of a run is written down, a launch without room leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_agent.places import Places
from remote_agent.protocol import NO_SPACE
from tests.fakes.agent_runs import Runs
from tests.fakes.faulty_pod import FaultyPod, chatty_spec
from tests.fakes.following import Following
from tests.fakes.pod import pod_places
from tests.fakes.waiting import wait_for
from tui.errors import FinetuiError, RemoteError
from tui.remote import transfer

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="mounting a small volume needs root")
_VOLUME_BYTES = 80 * 1024 * 1024


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    """A pod whose state is on a volume of 80 MiB."""
    volume = tmp_path / "volume"
    volume.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_VOLUME_BYTES}", "tmpfs", volume],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.decode()}")
    with pod_places(volume / "state", tmp_path / "environments") as places:
        yield places
    subprocess.run(["umount", "-l", volume], check=True)


def fill(places: Places, leave: int) -> Path:
    """Fill the volume but for ``leave`` bytes."""
    ballast = places.state.parent / "ballast"
    free = shutil.disk_usage(places.state.parent).free
    # A job that logs may be faster.
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        file.write(bytes(max(0, free - leave)))
    return ballast


def test_11_a_job_that_fills_the_disk_ends_and_its_end_is_known(pod: FaultyPod) -> None:
    run = pod.launch(chatty_spec("--rate", "1e9"))
    with Following(pod.target, run) as following:
        following.wait_run_state("running")
        fill(pod.places, 2_000_000)
        status = Runs(pod.places).ended(run)
        assert status.state == "failed", status
        assert status.exit_code == 1
        assert json.loads((pod.folder(run) / "exit.json").read_text())["state"] == "failed"
        following.wait_whole(pod.places)
    with pod.connect() as client:
        assert client.request("ping") == {}
    pod.check_nothing_left(run)


def test_11_a_launch_without_room_is_refused_and_leaves_nothing(pod: FaultyPod) -> None:
    with pod.connect() as client:
        ballast = fill(pod.places, 0)
        with pytest.raises(RemoteError) as caught:
            pod.launch_with(client, chatty_spec())
        assert caught.value.code == NO_SPACE, caught.value
        assert caught.value.remedy
        assert list(pod.places.runs.iterdir()) == []
        ballast.unlink()
        run = pod.launch_with(client, chatty_spec()).run
    pod.wait_running(run)
    assert pod.finish(run).exit_code == 0


def test_11_an_upload_without_room_is_refused_before_it_is_sent(pod: FaultyPod, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(60_000_000))
    sha256 = transfer.sha256_of(tmp_path / "big")
    with pod.connect() as client:
        before = pod.proxy.bytes_up
        with pytest.raises(FinetuiError) as caught:
            transfer.upload_blobs(client, {sha256: tmp_path / "big"})
        assert isinstance(caught.value, RemoteError)
        assert caught.value.code == NO_SPACE
        assert pod.proxy.bytes_up - before < 10_000_000
    wait_for(lambda: shutil.disk_usage(pod.places.state).free > 64 * 1024 * 1024, "the room to be given back")
