"""The chart in a real app: what is drawn, when, and what keys and mouse do."""

import asyncio
import math

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.containers import Horizontal

from tui.state.series import Series
from tui.widgets.chart import Chart, Curve


def loss(count: int = 100) -> Series:
    series = Series("loss")
    series.extend((step, 2.0 / (1 + step / 10)) for step in range(1, count + 1))
    return series


class Demo(App[None]):
    def __init__(self, *charts: Chart) -> None:
        super().__init__()
        self.charts = charts
        self.inspected: list[float | None] = []

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield from self.charts

    def on_chart_inspected(self, message: Chart.Inspected) -> None:
        self.inspected.append(message.x)
        for chart in self.charts:
            if chart is not message.chart:
                chart.inspect(message.x)


def shown(chart: Chart) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


def drive(scenario, *charts, size=(80, 24)):
    """Run a coroutine with the demo app and its pilot."""

    async def main() -> None:
        app = Demo(*charts)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            charts[0].focus()
            await pilot.pause()
            await scenario(app, pilot)

    asyncio.run(main())


async def until(pilot, condition, what: str) -> None:
    for _ in range(200):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError(f"never happened: {what}")


def test_frame_says_title_last_minimum_and_step():
    chart = Chart("loss", [Curve(loss())], style="braille")

    async def scenario(app, pilot):
        rows = shown(chart)
        assert rows[0].startswith("╭─ loss ─")
        assert "0.182 min 0.182 step 100" in rows[-1]
        assert all(len(row) == 80 for row in rows)

    drive(scenario, chart)


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (120, 40), (200, 60), (3, 3), (1, 1), (2, 9)])
@pytest.mark.parametrize("style", ["braille", "ascii"])
def test_any_size(size, style):
    chart = Chart("loss", [Curve(loss())], style=style)

    async def scenario(app, pilot):
        rows = shown(chart)
        assert all(len(row) == chart.size.width for row in rows)
        if style == "ascii":
            assert "".join(rows).isascii()
        if size == (20, 5):
            assert rows[0].startswith("+- loss") or rows[0].startswith("╭─ loss")
            assert any(mark in "".join(rows[1:4]) for mark in ("*", "⠉", "⣀", "⠒", "⣿", "⠤", "⠑", "⠢"))

    drive(scenario, chart, size=size)


def test_new_samples_are_drawn_and_bursts_are_one_redraw():
    series = loss()
    chart = Chart("loss", [Curve(series)])

    async def scenario(app, pilot):
        before = chart.draws
        for step in range(101, 601):
            series.append(step, 0.1)
            chart.data_changed()
            await asyncio.sleep(0)
        await until(pilot, lambda: "step 600" in shown(chart)[-1], "the last step is shown")
        assert chart.draws - before <= 3

    drive(scenario, chart)


def test_a_hidden_chart_draws_nothing_and_catches_up_when_shown():
    series = loss()
    chart, other = Chart("loss", [Curve(series)]), Chart("lr")

    async def scenario(app, pilot):
        chart.display = False
        await pilot.pause()
        before = chart.draws
        series.append(500, 0.5)
        chart.data_changed()
        await pilot.pause(0.4)
        assert chart.draws == before
        chart.display = True
        await until(pilot, lambda: chart.size.height and "step 500" in shown(chart)[-1], "it caught up")

    drive(scenario, chart, other)


def test_zoom_pan_reset_and_following():
    series = loss()
    chart = Chart("loss", [Curve(series)])

    async def scenario(app, pilot):
        await pilot.press("plus")
        assert chart.view.x == pytest.approx((50.5, 100))
        series.append(120, 0.1)
        assert chart.view.x == pytest.approx((70.5, 120))
        await pilot.press("left")
        assert chart.view.x[1] < 120
        held = chart.view.x
        series.append(140, 0.1)
        assert chart.view.x == held
        assert "0 shows all" in shown(chart)[0]
        await pilot.press("0")
        assert chart.view.x is None
        await pilot.press("minus")
        assert chart.view.x is None

    drive(scenario, chart)


def test_log_y_is_a_toggle_and_said():
    chart = Chart("loss", [Curve(loss())])

    async def scenario(app, pilot):
        plain = shown(chart)
        await pilot.press("l")
        assert "log loss" in shown(chart)[0]
        assert shown(chart) != plain
        await pilot.press("l")
        assert shown(chart) == plain

    drive(scenario, chart)


def test_crosshair_reads_all_series_at_one_step_in_all_charts():
    evals = Series("eval_loss")
    evals.extend([(50, 0.9), (100, 0.7)])
    first = Chart("loss", [Curve(loss(), "loss"), Curve(evals, "eval", "points")])
    lr = Series("lr")
    lr.extend((step, 1e-4) for step in range(1, 101))
    second = Chart("lr", [Curve(lr, kind="line")])

    async def scenario(app, pilot):
        await pilot.press("x")
        assert app.inspected == [100.0]
        await until(pilot, lambda: "step 100 loss 0.182 eval 0.7" in shown(first)[-1], "first reads")
        await until(pilot, lambda: "step 100 lr 1e-4" in shown(second)[-1], "second reads")
        await pilot.press("left", "left")
        assert app.inspected[-1] < 100
        await pilot.press("x")
        assert app.inspected[-1] is None

    drive(scenario, first, second)


def test_mouse_zooms_where_it_points_and_drags():
    chart = Chart("loss", [Curve(loss())])

    async def scenario(app, pilot):
        await pilot.hover(chart, offset=(40, 10))
        assert app.inspected and 40 < app.inspected[-1] < 60
        await pilot._post_mouse_events([events.MouseScrollUp], chart, offset=(40, 10))
        await until(pilot, lambda: chart.view.x is not None, "zoomed")
        x0, x1 = chart.view.x
        await pilot.mouse_down(chart, offset=(40, 10))
        await pilot.hover(chart, offset=(60, 10))
        await pilot.mouse_up(chart, offset=(60, 10))
        assert chart.view.x[0] < x0
        assert chart.view.x[1] - chart.view.x[0] == pytest.approx(x1 - x0)

    drive(scenario, chart)


def test_without_data_it_says_so():
    chart = Chart("loss")

    async def scenario(app, pilot):
        assert "no data yet" in shown(chart)[-1]
        for key in ("x", "left", "right", "plus", "l", "x"):
            await pilot.press(key)

    drive(scenario, chart)


def test_nan_only_does_not_crash():
    series = Series("loss")
    series.extend([(1, math.nan), (2, math.inf)])
    chart = Chart("loss", [Curve(series)])

    async def scenario(app, pilot):
        assert "step 2" in shown(chart)[-1]

    drive(scenario, chart)


def test_legible_without_colour(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    chart = Chart("loss", [Curve(loss())])

    async def scenario(app, pilot):
        assert "loss" in shown(chart)[0]
        strip = chart.render_line(12)
        assert any(segment.text.strip() for segment in strip)

    drive(scenario, chart)
    assert Chart.help
    assert all(binding.id and binding.tooltip for binding in Chart.BINDINGS)
