from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from remote_agent.protocol import CREDIT_BYTES, STREAM_FRAME_BYTES, Frame, FrameReader
from remote_agent.streams import FileStream, Generation


class Follower:
    """A client of one stream, with a clock that the test turns."""

    def __init__(self, path: Path, *, credit: int = CREDIT_BYTES) -> None:
        self.path = path
        self.credit = credit
        self.now = 0.0
        self.run_ended = False
        self.copy = bytearray()
        self.gen = ""
        self.ended_at: int | None = None
        self.resets = 0
        self.connect()

    def connect(self) -> None:
        self.stream = FileStream(
            1,
            self.path,
            offset=len(self.copy),
            gen=self.gen,
            credit=self.credit,
            ended=lambda: self.run_ended,
            clock=lambda: self.now,
        )

    def cut(self) -> None:
        self.stream.close()
        self.connect()

    def step(self) -> Frame | None:
        """Take one frame, at a time when the stream is due."""
        if self.stream.due is not None:
            self.now = max(self.now, self.stream.due)
        data = self.stream.take(self.now)
        if data is None:
            return None
        (frame,) = FrameReader().feed(data)
        self.receive(frame)
        return frame

    def receive(self, frame: Frame) -> None:
        params = frame.header["params"]
        if frame.header["method"] == "data":
            assert params["o"] == len(self.copy)
            self.copy += frame.payload
            self.gen = params["gen"]
        elif frame.header["method"] == "reset":
            self.copy.clear()
            self.gen = params["gen"]
            self.resets += 1
        else:
            self.ended_at = params["size"]

    def drain(self) -> None:
        """Take and acknowledge until two looks at the file have brought nothing."""
        quiet = 0
        while quiet < 2 and not self.stream.closed:
            quiet = 0 if self.step() else quiet + 1
            self.stream.ack(len(self.copy))


def nasty_bytes(seed: int) -> bytes:
    chance = random.Random(seed)
    lines = [chance.randbytes(chance.choice((1, 7, 80, 4000))) + b"\n" for _ in range(60)]
    return b"".join(lines) + b"x" * 200_000 + b"\n" + b"\xff\xfe\x00half a letter: \xc3"


@pytest.mark.parametrize("seed", range(20))
def test_copy_is_exact_under_cuts_while_the_file_grows(tmp_path: Path, seed: int) -> None:
    path, data, chance = tmp_path / "log", nasty_bytes(seed), random.Random(seed)
    follower = Follower(path)
    written = 0
    with path.open("wb", buffering=0) as file:
        while written < len(data):
            written += file.write(data[written : written + chance.randint(1, 30_000)])
            for _ in range(chance.randint(0, 4)):
                follower.step()
                if chance.random() < 0.5:
                    follower.stream.ack(len(follower.copy))
            if chance.random() < 0.3:
                follower.cut()
    follower.run_ended = True
    follower.drain()
    assert bytes(follower.copy) == data
    assert follower.ended_at == len(data)
    assert follower.resets == 0


def test_frames_stay_small_and_credit_is_honoured(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 1_000_000)
    follower = Follower(path, credit=100_000)
    while frame := follower.step():
        assert len(frame.payload) <= STREAM_FRAME_BYTES
    assert 100_000 - STREAM_FRAME_BYTES <= len(follower.copy) <= 100_000
    assert follower.stream.due is None
    assert follower.step() is None
    follower.stream.ack(50_000)
    while follower.step():
        pass
    assert 150_000 - STREAM_FRAME_BYTES <= len(follower.copy) <= 150_000


def test_an_ack_of_bytes_never_sent_gives_no_more_credit(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 1_000_000)
    follower = Follower(path, credit=64_000)
    follower.stream.ack(10**12)
    while follower.step():
        pass
    assert len(follower.copy) <= 64_000


def test_a_file_that_comes_later_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    follower = Follower(path)
    assert follower.step() is None
    path.write_bytes(b"a")
    follower.drain()
    assert bytes(follower.copy) == b"a"


def test_polling_backs_off_and_wakes_up_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a")
    follower = Follower(path)
    follower.drain()
    waits = []
    for _ in range(12):
        before = follower.now
        follower.step()
        assert follower.stream.due is not None
        waits.append(follower.stream.due - before)
    assert waits == sorted(waits)
    assert waits[-1] <= 1.0
    with path.open("ab") as file:
        file.write(b"b")
    assert follower.step() is not None
    follower.step()
    assert follower.stream.due is not None
    assert follower.stream.due - follower.now <= 0.05


def test_truncated_file_is_sent_again_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first " * 100)
    follower = Follower(path)
    follower.drain()
    path.write_bytes(b"second")
    follower.drain()
    assert bytes(follower.copy) == b"second"
    assert follower.resets == 1


@pytest.mark.parametrize("connected", [True, False])
def test_replaced_file_that_is_longer_is_noticed(tmp_path: Path, connected: bool) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    follower = Follower(path)
    follower.drain()
    if connected:
        path.unlink()
        path.write_bytes(b"new file, longer than the old one\n")
    else:
        path.write_bytes(b"same inode, longer than the old one\n")  # truncated in place between two looks
        follower.cut()
    follower.drain()
    assert bytes(follower.copy) == path.read_bytes()
    assert follower.resets == 1


def test_generation_holds_while_a_file_grows_past_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "log"
    follower = Follower(path)
    seen = set()
    with path.open("ab", buffering=0) as file:
        for _ in range(100):
            file.write(b"ab\n")
            follower.drain()
            seen.add(follower.gen)
            follower.cut()
    assert len(seen) == 1
    assert follower.resets == 0


def test_an_unknown_generation_means_reset(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"abc")
    follower = Follower(path)
    follower.copy += b"xx"
    follower.gen = "not ours"
    follower.cut()
    follower.drain()
    assert bytes(follower.copy) == b"abc"
    assert follower.resets == 1


def test_an_offset_past_the_end_means_reset(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"abc")
    follower = Follower(path)
    follower.copy += b"x" * 10
    follower.cut()
    follower.drain()
    assert bytes(follower.copy) == b"abc"


def test_eof_waits_for_the_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100_000)
    follower = Follower(path)
    follower.run_ended = True
    follower.step()
    assert follower.ended_at is None
    follower.drain()
    assert follower.ended_at == len(follower.copy) == 100_000
    assert follower.stream.closed


def test_eof_of_a_run_that_wrote_nothing(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "log")
    follower.run_ended = True
    follower.drain()
    assert follower.ended_at == 0


def test_generation_refuses_a_shorter_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"0123456789")
    descriptor = os.open(path, os.O_RDWR)
    try:
        generation = Generation.of(descriptor)
        assert generation is not None
        assert generation.matches(descriptor)
        os.ftruncate(descriptor, 5)
        assert not generation.matches(descriptor)
    finally:
        os.close(descriptor)
