"""The spool holds exactly the remote bytes, and gives the same lines however they arrived."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.state.spool import BLOCK_BYTES, MAX_LINE_BYTES, LogSpool, SpoolGap, SpoolWriteFailed

logs = st.lists(
    st.sampled_from(
        [b"step 1", b"\n", b"\r\n", b"\r", b" 10%|#", b"\xff\xfe", "é…".encode(), b"\x1b[31mred"]
    ),
    max_size=40,
).map(b"".join)


def shown(data: bytes) -> list[str]:
    """What a terminal would leave, computed the slow and obvious way."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.rstrip(b"\r").split(b"\r")[-1].decode("utf-8", "replace") for line in lines]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@given(logs, st.data())
def test_any_chunking_gives_the_same_lines(tmp_path_factory, data, draw):
    path = tmp_path_factory.mktemp("spool") / "log"
    spool = LogSpool(path)
    offset = 0
    while offset < len(data):
        size = draw.draw(st.integers(1, len(data) - offset))
        overlap = draw.draw(st.integers(0, offset))
        spool.feed(offset - overlap, data[offset - overlap : offset + size])
        offset += size
    assert path.read_bytes() == data
    assert spool.read_lines(0, spool.count) == shown(data)
    assert spool.count == len(shown(data))
    texts = [text for _first, _count, text in spool.blocks(0)]
    assert "\n".join(texts).split("\n")[: spool.count] == shown(data)
    spool.close()


@given(logs, st.integers(1, 60))
def test_a_tail_and_then_the_head_is_the_whole_index(tmp_path_factory, data, tail):
    path = tmp_path_factory.mktemp("spool") / "log"
    path.write_bytes(data)
    spool = LogSpool(path, tail_bytes=tail)
    before = spool.count
    all_lines = shown(data)
    assert spool.read_lines(0, before) == all_lines[len(all_lines) - before :]
    grown = spool.index_head()
    assert spool.count == before + grown == len(all_lines)
    assert spool.read_lines(0, spool.count) == all_lines
    assert spool.head_bytes == 0
    spool.close()


def test_reopened_spool_continues_where_it_ended(path):
    spool = LogSpool(path)
    spool.feed(0, b"one\ntw")
    spool.close()
    again = LogSpool(path)
    assert again.size == 6
    again.feed(4, b"two\nthree\n")
    assert again.read_lines(0, 9) == ["one", "two", "three"]
    assert again.size == path.stat().st_size


def test_a_gap_is_an_error_and_changes_nothing(path):
    spool = LogSpool(path)
    spool.feed(0, b"one\n")
    with pytest.raises(SpoolGap, match="continues at byte 9, but only 4"):
        spool.feed(9, b"x")
    assert path.read_bytes() == b"one\n"


def test_bytes_already_held_are_dropped(path):
    spool = LogSpool(path)
    spool.feed(0, b"one\ntwo\n")
    assert spool.feed(0, b"one\n") == 2
    assert spool.size == 8


def test_reset_starts_a_new_generation(path):
    spool = LogSpool(path)
    spool.feed(0, b"old\n")
    spool.reset()
    assert (spool.size, spool.count, spool.generation) == (0, 0, 1)
    spool.feed(0, b"new\n")
    assert spool.read_lines(0, 1) == ["new"]
    assert path.read_bytes() == b"new\n"


def test_an_endless_progress_line_shows_its_end(path):
    spool = LogSpool(path)
    spool.feed(0, b"".join(b"\r%d%%|####" % (i % 101) for i in range(100_000)) + b"\r100% done\nnext\n")
    assert spool.read_lines(0, 2) == ["100% done", "next"]
    assert next(text for *_, text in spool.blocks(0)).startswith("100% done")


def test_an_endless_line_without_returns_shows_its_head(path):
    spool = LogSpool(path)
    spool.feed(0, b"a" * (BLOCK_BYTES * 2) + b"\nnext\n")
    first, second = spool.read_lines(0, 2)
    assert first == "a" * MAX_LINE_BYTES
    assert second == "next"


def test_blocks_end_on_line_starts_and_cover_everything(path):
    lines = [f"line {i} " + "x" * (i % 300) for i in range(10_000)]
    spool = LogSpool(path)
    spool.feed(0, "\n".join(lines).encode())
    seen: list[str] = []
    for first, count, text in spool.blocks(0):
        assert first == len(seen)
        assert len(text) < BLOCK_BYTES + 1000
        seen += text.split("\n")
        assert len(seen) == first + count
    assert seen == lines


def test_line_at_finds_the_line_of_a_byte(path):
    spool = LogSpool(path)
    spool.feed(0, b"one\ntwo\nthree")
    assert [spool.line_at(offset) for offset in (0, 3, 4, 8, 12)] == [0, 0, 1, 2, 2]


def test_cancelled_head_index_changes_nothing(path):
    path.write_bytes(b"line\n" * 1000)
    spool = LogSpool(path, tail_bytes=100)
    cancelled = threading.Event()
    cancelled.set()
    before = spool.count
    assert spool.index_head(cancelled) == 0
    assert spool.count == before


def test_feeding_while_the_head_is_indexed_loses_nothing(path):
    path.write_bytes(b"".join(b"old %d\n" % i for i in range(200_000)))
    size = path.stat().st_size
    spool = LogSpool(path, tail_bytes=1000)
    grown: list[int] = []
    worker = threading.Thread(target=lambda: grown.append(spool.index_head()))
    worker.start()
    offset = size
    for number in range(2000):
        data = b"new %d\n" % number
        spool.feed(offset, data)
        offset += len(data)
    worker.join(60)
    assert grown[0] > 0
    assert spool.count == 202_000
    assert spool.read_lines(199_999, 200_001) == ["old 199999", "new 0"]
    assert spool.read_lines(201_999, 202_000) == ["new 1999"]


def test_index_needs_less_than_16_bytes_a_line(path):
    path.write_bytes(b"a line of the log\n" * 300_000)
    spool = LogSpool(path)
    spool.index_head()
    starts = spool._starts
    assert spool.count == 300_000
    assert starts.__sizeof__() < 16 * 300_000


def test_a_disk_that_refuses_is_said_in_words(path, monkeypatch):
    spool = LogSpool(path)

    def full(*_args: object) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(SpoolWriteFailed) as caught:
        spool.feed(0, b"x")
    assert "No space left" in str(caught.value)
    assert "FINETUI_HOME" in caught.value.remedy
    assert spool.size == 0
