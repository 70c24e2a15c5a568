"""No control character of a log or a model reply ever reaches the terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.state.ansi import PLAIN, Look, parse, plain

pieces = st.lists(
    st.one_of(
        st.sampled_from(
            ["\x1b[", "\x1b]", "\x1b", "31m", "\x9b", "\x9d", "\x07", "\x1b\\", "\t", "\r", "52;c;", "\x1bP"]
        ),
        st.text(max_size=5),
        st.text("0123456789;:m?[]\x1bABHJK", max_size=8),
    ),
    max_size=20,
).map("".join)


@given(pieces)
def test_nothing_but_printable_text_comes_out(text):
    out = plain(text)
    assert out == "".join(part for part, _look in parse(text))
    assert not [char for char in out if unicodedata.category(char) == "Cc" or char in "\u202e\u2066\u200b"]


@given(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=50))
def test_clean_text_is_untouched(text):
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;evil title\x07ok", "ok"),
        ("\x1b]52;c;ZXZpbA==\x1b\\ok", "ok"),
        ("\x1bP1$r0m\x1b\\ok", "ok"),
        ("\x1b[2J\x1b[H\x1b[?1049hok", "ok"),
        ("\x1b]0;never ended", "0;never ended"),
        ("\x1bcok", "ok"),
        ("a\x08b\x00c\x7f", "abc"),
        ("\x9b31mred\x9d0;t\x9c", "red"),
        ("abc\u202edcba", "abcdcba"),
        ("a\tb", "a       b"),
        ("\x1b[31ma\tb", "a       b"),
        ("\x1b[A 10%|###", " 10%|###"),
    ],
)
def test_sequences_are_dropped(text, shown):
    assert plain(text) == shown


def test_colours_are_kept():
    runs = parse("\x1b[1;31mred\x1b[0m plain \x1b[38;5;208morange\x1b[39m \x1b[48;2;1;2;3mdeep")
    assert runs == [
        ("red", Look(fg=1, bold=True)),
        (" plain ", PLAIN),
        ("orange", Look(fg=208)),
        (" ", PLAIN),
        ("deep", Look(bg=(1, 2, 3))),
    ]
    assert parse("\x1b[92mok\x1b[22;39mx") == [("ok", Look(fg=10)), ("x", PLAIN)]


def test_nonsense_parameters_change_nothing():
    for args in ("?31", "38;5", "38;2;1;2", "38;5;999", "48;2;1;2;900", "9999999999"):
        assert parse(f"\x1b[{args}mx")[0][1] == PLAIN


def test_hostile_repetition_is_quick():
    for text in ("\x9d" * 60_000, "\x1b]" * 30_000, "\x1b[" * 30_000, "\x1b[1;" * 30_000):
        assert len(plain(text)) <= len(text)
