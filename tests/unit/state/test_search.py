"""Search finds the lines that a reader would see, in batches, and can be stopped."""

import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.errors import InvalidInput
from tui.state.search import compile_pattern, find_lines
from tui.state.spool import LogSpool


@pytest.fixture
def spool(tmp_path):
    return LogSpool(tmp_path / "log")


def found(spool: LogSpool, text: str, **options: object) -> list[int]:
    return [line for batch in find_lines(spool, compile_pattern(text, **options)) for line in batch.lines]


@given(
    st.lists(st.text("ab x", max_size=6), max_size=30),
    st.sampled_from(["a", "ab", "^a", "b$", "a*", "^$", "x|b"]),
)
def test_the_same_lines_as_a_plain_loop(tmp_path_factory, lines, pattern):
    spool = LogSpool(tmp_path_factory.mktemp("search") / "log")
    spool.feed(0, "".join(line + "\n" for line in lines).encode())
    expected = [number for number, line in enumerate(lines) if re.search(pattern, line)]
    assert found(spool, pattern) == expected
    spool.close()


def test_lines_across_blocks_have_their_numbers(spool):
    lines = [f"{number} " + "x" * 100 + (" ERROR" if number % 997 == 0 else "") for number in range(20_000)]
    spool.feed(0, "\n".join(lines).encode())
    assert found(spool, "ERROR$") == list(range(0, 20_000, 997))
    scanned = [batch.scanned for batch in find_lines(spool, compile_pattern("ERROR"))]
    assert scanned[-1] == 20_000
    assert len(scanned) > 5


def test_colours_and_overwritten_text_are_not_searched(spool):
    spool.feed(0, b"lo\x1b[31mss\x1b[0m=1\n10% old\r20% new\nplain\n")
    assert found(spool, "loss=1") == [0]
    assert found(spool, "31m") == []
    assert found(spool, "old") == []
    assert found(spool, "^20% new$") == [1]


def test_case_is_ignored_until_a_capital_is_typed(spool):
    spool.feed(0, "Error\nerror\nÉTÉ\n".encode())
    assert found(spool, "error") == [0, 1]
    assert found(spool, "Error") == [0]
    assert found(spool, "été") == [2]
    assert found(spool, "error", ignore_case=False) == [1]


def test_a_broken_expression_is_explained():
    with pytest.raises(InvalidInput) as caught:
        compile_pattern("loss(")
    assert "character 5" in caught.value.cause
    assert compile_pattern("loss(", literal=True).search("loss(1)")


def test_a_cancelled_search_ends_at_the_next_block(spool):
    spool.feed(0, b"line of the log\n" * 100_000)
    cancelled = threading.Event()
    batches = find_lines(spool, compile_pattern("line"), cancelled=cancelled)
    next(batches)
    cancelled.set()
    assert list(batches) == []


def test_reset_ends_a_search(spool):
    spool.feed(0, b"line of the log\n" * 100_000)
    batches = find_lines(spool, compile_pattern("line"))
    next(batches)
    spool.reset()
    assert list(batches) == []
