"""The chart's raster never leaves its box, and shows what is in the data."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.state.series import Series
from tui.widgets.raster import Raster, Trace, View, draw

numbers = st.one_of(
    st.floats(-1e3, 1e3),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1.0, math.nan]),
)
styles = st.sampled_from(["braille", "block", "ascii"])


def of(ys: list[float], xs: list[float] | None = None) -> Series:
    series = Series("loss")
    series.extend(zip(xs or range(len(ys)), ys, strict=True))
    return series


def texts(raster: Raster) -> list[str]:
    return [row.text for row in raster.rows]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(numbers, max_size=300),
    st.lists(numbers, max_size=20),
    st.integers(0, 60),
    st.integers(0, 20),
    st.booleans(),
    styles,
    st.one_of(st.none(), st.tuples(st.floats(-400, 400), st.floats(-400, 400))),
    st.one_of(st.none(), st.floats(-10, 400)),
    st.sampled_from(["step", "s", "tokens"]),
)
def test_never_outside_its_box(  # noqa: PLR0917 (hypothesis fills them in)
    ys, points, width, height, log_y, style, x, cursor, unit
):
    traces = [Trace(of(ys), ink="raw"), Trace(of(ys).smoothed(0.9)), Trace(of(points), "points", "eval")]
    view = View(x=x, log_y=log_y, style=style, cursor=cursor, x_unit=unit, y_unit="s" if log_y else "")
    raster = draw(traces, width, height, view)
    if width == 0 or height == 0:
        assert raster.rows == ()
        return
    assert len(raster.rows) == height
    for row in raster.rows:
        assert len(row.text) == width
        assert all(0 <= span.start < span.end <= width for span in row.spans)
        assert all(a.end <= b.start for a, b in zip(row.spans, row.spans[1:], strict=False))
        if style == "ascii":
            assert row.text.isascii()
    if x is not None and max(x) - min(x) > 1e-3:
        assert min(x) <= raster.x_at(width // 2) <= max(x)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=2000), styles)
def test_the_extremes_of_every_column_are_drawn(ys, style):
    """However many samples share a column, its highest and lowest dot rows are set."""
    rows = texts(draw([Trace(of(ys))], 15, 8, View(style=style)))
    body = rows[:-1]
    if max(ys) - min(ys) > 1e-3:
        assert body[0].strip()
        assert body[-1].strip()


def test_a_straight_line_is_a_diagonal():
    rows = texts(draw([Trace(of([float(i) for i in range(11)]))], 11, 3, View(style="ascii")))
    assert rows == ["        ***", "   *****   ", "***        "]


def test_sparse_samples_are_joined():
    rows = texts(draw([Trace(of([0.0, 10.0], [0, 10]))], 11, 3, View(style="ascii")))
    assert "".join(rows).count("*") >= 11
    assert all(any(row[column] == "*" for row in rows) for column in range(11))


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf])
def test_a_gap_stays_open(hole):
    rows = texts(
        draw([Trace(of([1.0, 1.0, hole, 1.0, 1.0], [0, 10, 20, 30, 40]))], 15, 3, View(style="ascii"))
    )
    line = next(row for row in rows if "*" in row)
    assert line.strip("* ") == ""
    assert "*" in line.split(" ")[0]
    assert "  " in line.strip()


def test_a_line_that_enters_and_leaves_the_window_is_drawn_to_its_edges():
    series = of([0.0, 100.0, 50.0], [0, 100, 200])
    rows = texts(draw([Trace(series)], 15, 3, View(x=(20, 180), style="ascii")))
    assert all(any(row[column] == "*" for row in rows) for column in range(15))


def test_log_axis_shows_decades_and_leaves_zero_out():
    series = of([1000.0, 100.0, 10.0, 1.0, 0.0, -5.0])
    raster = draw([Trace(series)], 40, 13, View(log_y=True))
    assert raster.y == pytest.approx((1.0, 1000.0))
    labels = [row.text.split("│")[0].strip() for row in raster.rows[:-1]]
    assert [label for label in labels if label] == ["1k", "100", "10", "1"]


def test_later_traces_occlude_earlier_ones_cell_by_cell():
    low, high = of([1.0] * 10), of([1.0] * 10)
    raster = draw([Trace(low, ink="raw"), Trace(high, ink="smooth")], 10, 3, View())
    inks = {span.ink for row in raster.rows for span in row.spans}
    assert inks == {"smooth"}


def test_labels_do_not_touch_and_name_the_unit():
    raster = draw([Trace(of([1.0] * 100_00))], 80, 10, View())
    axis = raster.rows[-1].text
    assert axis.endswith("step")
    labels = axis.split()
    assert labels == sorted(set(labels), key=labels.index)
    time = draw([Trace(of([1.0, 2.0], [0, 7200]))], 80, 10, View(x_unit="s")).rows[-1].text
    assert "1h00m" in time


def test_a_tiny_box_is_all_curve():
    raster = draw([Trace(of([1.0, 2.0, 3.0]))], 10, 3, View())
    assert (raster.left, raster.width) == (0, 10)


def test_columns_and_x_agree():
    raster = draw([Trace(of([1.0] * 101))], 61, 10, View())
    assert raster.x_at(raster.left) == 0
    assert raster.x_at(60) == 100
    assert raster.x_at(-5) == 0
