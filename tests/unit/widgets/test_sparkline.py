"""Text sparklines and bars have the width that was asked for, whatever the numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.widgets.gauge import HistoryStrip, level
from tui.widgets.sparkline import bar, sparkline

anything = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(anything, max_size=100), st.integers(0, 30), st.booleans())
def test_sparkline_fits(values, width, ascii_only):
    text = sparkline(values, width, ascii_only=ascii_only)
    assert len(text) == min(width, len(values))
    assert not ascii_only or text.isascii()


def test_sparkline_shows_the_shape():
    assert sparkline([3, 2, 1], 3) == "█▅▁" or sparkline([3, 2, 1], 3) == "█▄▁"
    assert sparkline([1, math.nan, 2], 3)[1] == " "
    assert sparkline([5, 5], 2) == "▁▁"
    assert sparkline(range(100), 2) == "▁█"


@given(st.one_of(st.none(), anything), st.integers(0, 50), st.booleans())
def test_bar_is_exactly_as_wide_as_asked(part, width, ascii_only):
    assert len(bar(part, width, ascii_only=ascii_only)) == width


def test_bar_fills():
    assert bar(0.5, 4, ascii_only=True) == "##.."
    assert bar(1.0, 4) == "████"
    assert bar(0.0, 4) == "────"
    assert bar(0.625, 1) == "▋"


@given(st.lists(st.one_of(st.none(), anything), max_size=900), st.integers(0, 60), st.booleans())
def test_history_is_exactly_as_wide_as_asked(parts, width, ascii_only):
    strip = HistoryStrip()
    for part in parts:
        strip.add(part)
    assert len(strip.text(width, ascii_only=ascii_only)) == width


def test_history_is_right_aligned_and_keeps_holes():
    strip = HistoryStrip()
    for part in (1.0, None, 0.5, 0.1):
        strip.add(part)
    assert strip.text(4, ascii_only=True) == "# -."
    assert strip.text(3) == " ⡇⣄"


@pytest.mark.parametrize(
    ("part", "name"), [(None, "good"), (0.5, "good"), (0.85, "warn"), (0.95, "alarm"), (2, "alarm")]
)
def test_levels(part, name):
    assert level(part) == name
