"""A stream that is read in a thread gives the same bytes, whatever comes while the thread reads."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from remote_agent.protocol import CREDIT_BYTES, FrameReader
from remote_agent.readahead import ReadAhead
from remote_agent.streams import FileStream


def open_descriptors(path: Path) -> int:
    """Return how many descriptors of this process are open on ``path``."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists the folder
            found += str(link.readlink()) == str(path)
    return found


class Reader:
    """What a connection does with a stream, without a connection."""

    def __init__(self, path: Path, threads: ThreadPoolExecutor) -> None:
        self.ended = False
        self.gate = threading.Event()
        self.gate.set()
        self.woken = asyncio.Event()
        self.copy = bytearray()
        loop = asyncio.get_running_loop()
        file = FileStream(
            1, path, offset=0, gen="", credit=CREDIT_BYTES, ended=self.has_ended, clock=loop.time
        )
        self.stream = ReadAhead(file, threads=threads, wake=self.woken.set, clock=loop.time)

    def has_ended(self) -> bool:
        self.gate.wait(20)
        return self.ended

    async def step(self) -> bool:
        """Take one frame; False when none came within a moment."""
        self.woken.clear()
        data = self.stream.take(asyncio.get_running_loop().time())
        if data is None:
            try:
                await asyncio.wait_for(self.woken.wait(), 0.1)
            except asyncio.TimeoutError:
                return False
            data = self.stream.take(asyncio.get_running_loop().time())
        if data is None:
            return False
        (frame,) = FrameReader().feed(data)
        if frame.header["method"] == "data":
            assert frame.header["params"]["o"] == len(self.copy)
            self.copy += frame.payload
        return True


@pytest.mark.parametrize("seed", range(5))
def test_the_copy_is_exact_with_acks_at_any_moment(tmp_path: Path, seed: int) -> None:
    path, chance = tmp_path / "log", random.Random(seed)
    data = chance.randbytes(2_000_000)

    async def scene() -> bytes:
        with ThreadPoolExecutor(2) as threads, path.open("wb", buffering=0) as file:
            reader = Reader(path, threads)
            written = 0
            while not reader.stream.closed:
                if written < len(data):
                    written += file.write(data[written : written + chance.randint(1, 200_000)])
                reader.ended = written == len(data)
                for _ in range(chance.randint(1, 6)):
                    await reader.step()
                reader.stream.ack(len(reader.copy) - chance.randint(0, 1000))
                if reader.ended:
                    reader.stream.ack(len(reader.copy))
            return bytes(reader.copy)

    assert asyncio.run(scene()) == data
    assert open_descriptors(path) == 0


def test_a_stream_closed_while_it_is_read_lets_go_of_its_file_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100_000)

    async def scene() -> None:
        with ThreadPoolExecutor(1) as threads:
            reader = Reader(path, threads)
            while not await reader.step():
                pass
            while reader.copy != path.read_bytes():
                await reader.step()
            reader.gate.clear()
            while reader.stream.due is not None:
                reader.stream.take(asyncio.get_running_loop().time())
                await asyncio.sleep(0)
            assert open_descriptors(path) == 1
            reader.stream.close()
            assert reader.stream.closed
            reader.gate.set()
            deadline = asyncio.get_running_loop().time() + 20
            while open_descriptors(path):
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.01)

    asyncio.run(scene())
