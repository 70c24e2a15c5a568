from __future__ import annotations

import random
import threading

import pytest
from paramiko.buffered_pipe import PipeTimeout

from tui.remote.ssh_pipe import ChunkPipe


def test_bytes_come_out_as_they_went_in_however_they_are_cut() -> None:
    noise = random.Random(1)
    data = noise.randbytes(2_000_000)
    pipe = ChunkPipe()

    def feed() -> None:
        offset = 0
        while offset < len(data):
            size = noise.randrange(1, 70_000)
            pipe.feed(data[offset : offset + size])
            offset += size
        pipe.close()

    thread = threading.Thread(target=feed)
    thread.start()
    sizes = random.Random(2)
    taken = []
    while piece := pipe.read(limit := sizes.randrange(1, 300_000), 60.0):
        assert len(piece) <= limit
        taken.append(piece)
    thread.join()
    assert b"".join(taken) == data
    assert len(pipe) == 0


def test_a_read_in_vain_times_out_and_the_end_is_empty() -> None:
    pipe = ChunkPipe()
    with pytest.raises(PipeTimeout):
        pipe.read(10, 0.01)
    pipe.feed(b"last")
    pipe.close()
    assert pipe.read_ready()
    assert pipe.read(10, 0.0) == b"last"
    assert pipe.read(10, 0.0) == b""


def test_everything_can_be_taken_at_once() -> None:
    pipe = ChunkPipe()
    pipe.feed(b"one")
    pipe.feed(b"two")
    assert len(pipe) == 6
    assert pipe.empty() == b"onetwo"
    assert not pipe.read_ready()
