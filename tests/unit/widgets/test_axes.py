"""Numbers are written in few characters and ticks are round."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.widgets.axes import duration, linear_ticks, log_ticks, short, tick_labels


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.2345, "1.23"),
        (0.05, "0.05"),
        (999.9, "1k"),
        (1234, "1.23k"),
        (17_179_869_184, "17.2G"),
        (2e-5, "2e-5"),
        (-0.5, "-0.5"),
        (math.nan, "nan"),
        (math.inf, "+inf"),
        (3e18, "3e18"),
    ],
)
def test_short(value, text):
    assert short(value) == text


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_short_is_short(value):
    assert len(short(value)) <= 9


def test_duration():
    assert [duration(s) for s in (0, 59, 61, 3599, 3661, 90_000)] == [
        "0s",
        "59s",
        "1m01s",
        "59m59s",
        "1h01m",
        "25h00m",
    ]


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9), st.integers(1, 12))
def test_linear_ticks_are_few_inside_and_even(low, size, most):
    ticks = linear_ticks(low, low + size, most)
    assert len(ticks) <= most + 1
    assert all(low - size * 1e-6 <= tick <= low + size * (1 + 1e-6) for tick in ticks)


def test_ticks_and_labels():
    assert linear_ticks(0, 100, 5) == [0, 20, 40, 60, 80, 100]
    assert tick_labels([0.0, 0.5, 1.0]) == ["0.0", "0.5", "1.0"]
    assert tick_labels([2.0, 4.0]) == ["2", "4"]
    assert tick_labels([1e-5, 2e-5]) == ["1e-5", "2e-5"]
    assert log_ticks(0.01, 100, 5) == pytest.approx([0.01, 0.1, 1, 10, 100])
    assert log_ticks(2, 5, 4) == [2, 5]
