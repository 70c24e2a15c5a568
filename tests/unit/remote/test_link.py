"""The link to a local process: bytes both ways, its end, and closing from another thread."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.fakes.waiting import wait_for
from tui.remote.link import LocalLink


def test_bytes_go_both_ways_whole() -> None:
    link = LocalLink(["cat"])
    data = os.urandom(300_000)
    writer = threading.Thread(target=link.write, args=(data,))
    writer.start()
    got = b""
    while len(got) < len(data):
        got += link.read(65536)
    writer.join(5)
    assert got == data
    link.close()


def test_the_end_of_the_process_is_the_end_of_the_stream_and_its_stderr_is_kept() -> None:
    link = LocalLink(["sh", "-c", "echo out; echo why >&2"])
    assert link.read(100) == b"out\n"
    assert link.read(100) == b""
    assert link.last_words() == "why"
    link.close()


def test_close_wakes_a_blocked_read_and_ends_the_process() -> None:
    link = LocalLink(["sleep", "60"])
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(link.read(10)))
    reader.start()
    link.close()
    link.close()
    reader.join(5)
    assert got == [b""]
    with pytest.raises(ProcessLookupError):
        os.kill(link.pid, 0)


def test_writing_to_a_dead_process_is_an_error() -> None:
    link = LocalLink(["true"])
    assert link.read(1) == b""

    def broken() -> bool:
        try:
            link.write(b"x" * 100_000)
        except OSError:
            return True
        return False

    wait_for(broken, "a broken pipe")
    link.close()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_open() -> None:
    before = open_descriptors()
    for _ in range(5):
        link = LocalLink(["cat"])
        link.write(b"x")
        assert link.read(1) == b"x"
        link.close()
    wait_for(lambda: open_descriptors() <= before, "the descriptors to be closed")
