"""A series answers as a plain list would, whatever was appended and superseded."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.state.series import BLOCK, SUPER, Series

values = st.one_of(
    st.floats(-1e6, 1e6), st.just(math.nan), st.just(math.inf), st.just(-math.inf), st.just(0.0)
)


def filled(ys: list[float]) -> Series:
    series = Series("loss")
    series.extend(enumerate(ys))
    return series


def plain_range(ys: list[float], positive: bool) -> tuple[float, float] | None:
    kept = [y for y in ys if math.isfinite(y) and (y > 0 or not positive)]
    return (min(kept), max(kept)) if kept else None


@given(st.lists(values, max_size=3 * BLOCK), st.data(), st.booleans())
def test_range_is_that_of_the_plain_values(ys, data, positive):
    series = filled(ys)
    first = data.draw(st.integers(0, len(ys)))
    stop = data.draw(st.integers(first, len(ys)))
    assert series.range(first, stop, positive=positive) == plain_range(ys[first:stop], positive)


@pytest.mark.parametrize("first", [0, 1, BLOCK, SUPER - 1, SUPER, SUPER + 1])
@pytest.mark.parametrize("stop", [SUPER, SUPER + BLOCK, 2 * SUPER, 2 * SUPER + 5, 3 * SUPER])
def test_range_over_super_blocks(first, stop):
    ys = [math.sin(i) * (i % 977) for i in range(3 * SUPER)]
    ys[SUPER + 3] = math.nan
    ys[2 * SUPER + 100] = -5000.0
    series = filled(ys)
    for positive in (False, True):
        assert series.range(first, stop, positive=positive) == plain_range(ys[first:stop], positive)


@settings(max_examples=50)
@given(st.lists(values, max_size=200), st.integers(-1, 200), st.lists(values, max_size=100))
def test_a_resumed_run_supersedes_later_steps(before, keep, after):
    series = filled(before)
    series.smoothed(0.5)
    series.truncate_after(keep)
    kept = before[: keep + 1]
    series.extend(enumerate(after, start=len(kept)))
    fresh = filled(kept + after)
    assert list(series.x) == list(fresh.x)
    assert series.bounds == plain_range(kept + after, False)
    assert series.range(0, len(series), positive=True) == plain_range(kept + after, True)
    again, straight = series.smoothed(0.5).y, fresh.smoothed(0.5).y
    assert [y if math.isfinite(y) else None for y in again] == [
        y if math.isfinite(y) else None for y in straight
    ]


def test_truncation_inside_a_super_block_keeps_the_bounds_before_it():
    series = filled([float(i) for i in range(SUPER + 500)])
    series.truncate_after(SUPER - 100)
    assert series.range(0, len(series)) == (0.0, SUPER - 100)
    series.extend((x, 1.0) for x in range(SUPER, 2 * SUPER + 1))
    assert series.range(0, len(series)) == (0.0, SUPER - 100)


def test_nan_and_infinity_are_kept_but_move_no_bound():
    series = filled([1.0, math.nan, math.inf, 3.0])
    assert len(series) == 4
    assert series.bounds == (1.0, 3.0)
    assert math.isnan(series.y[1])
    assert filled([math.nan]).bounds is None


def test_window_nearest_and_at():
    series = Series()
    series.extend([(10, 1.0), (20, 2.0), (30, 3.0)])
    assert series.window(10, 25) == (0, 2)
    assert series.window(31, 99) == (3, 3)
    assert [series.nearest(x) for x in (-5, 14, 16, 99)] == [0, 0, 1, 2]
    assert series.at(20) == 2.0
    assert series.at(21) is None
    assert Series().nearest(1) is None


def test_smoothing_is_the_exponential_average_and_leaves_gaps():
    smooth = filled([1.0, 3.0, math.nan, 3.0]).smoothed(0.5)
    assert smooth.y[0] == 1.0
    assert smooth.y[1] == 2.0
    assert math.isnan(smooth.y[2])
    assert smooth.y[3] == 2.5


def test_samples_out_of_order_are_refused():
    series = filled([1.0, 2.0])
    for x in (0.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="does not follow"):
            series.append(x, 1.0)
    assert len(series) == 2
