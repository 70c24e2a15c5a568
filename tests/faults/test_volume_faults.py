"""A network volume that knows neither locks nor sockets: the agent asks it for none."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tests.fakes.faulty_pod import FaultyPod, chatty_spec


def test_20_no_socket_and_no_lock_lies_on_the_volume(pod: FaultyPod) -> None:
    run = pod.launch(chatty_spec())
    pod.wait_running(run)
    with pod.connect() as client:
        client.request("ping")
        locked = _locked()
        assert _place(pod.places.run_lock(run)) in locked, "the supervisor's lock was not seen"
        for path in pod.places.state.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # a document that was just replaced
                assert not path.is_socket(), path
                assert _place(path) not in locked, path
    pod.finish(run)


def _locked() -> set[tuple[int, int, int]]:
    """Device and inode of every file that some process holds a lock on."""
    found = set()
    for line in Path("/proc/locks").read_text().splitlines():
        if "->" not in line:
            major, minor, inode = line.split()[5].split(":")
            found.add((int(major, 16), int(minor, 16), int(inode)))
    return found


def _place(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return os.major(status.st_dev), os.minor(status.st_dev), status.st_ino
