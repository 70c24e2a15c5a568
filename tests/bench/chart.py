"""Redraw cost of the chart beside Textual's Sparkline, textual-plot and textual-plotext, in one run.

    python tests/bench/chart.py

The last two are not dependencies: `pip install textual-plot textual-plotext` (in an environment of their own,
with this checkout on PYTHONPATH) adds their rows. CPU time of the process, best of several redraws at 120x30.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import random
import time
from collections.abc import Callable
from functools import partial

from textual.app import App, ComposeResult
from textual.widget import Widget
from textual.widgets import Sparkline

from tui.state.series import Series
from tui.widgets.chart import Chart, Curve

SIZES = (1_000, 10_000, 100_000)
REPEATS = 7
#: The screen paints in the next sixtieth of a second; waiting costs no CPU.
PAINTED_S = 0.06


def samples(count: int) -> list[float]:
    """A falling, noisy loss."""
    rng = random.Random(1)
    return [3 * math.exp(-4 * i / count) + 0.3 * rng.random() for i in range(count)]


class Bare(App[None]):
    """One widget on the whole screen."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget

    def compose(self) -> ComposeResult:
        yield self.widget


async def cost(widget: Widget, change: Callable[[], None]) -> float:
    """CPU seconds from a change to the painted frame, the best of several."""
    app = Bare(widget)
    best = math.inf
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        for _ in range(REPEATS):
            begin = time.process_time()
            change()
            await pilot.pause(PAINTED_S)
            best = min(best, time.process_time() - begin)
    return best


def ours(ys: list[float], kind: str = "line") -> tuple[Widget, Callable[[], None]]:
    series = Series("loss")
    series.extend(enumerate(ys))
    chart = Chart("loss", [Curve(series, kind=kind)], style="braille")

    def change() -> None:
        series.append(len(series), random.random() * 4)
        chart._redraw_now()

    return chart, change


def sparkline(ys: list[float]) -> tuple[Widget, Callable[[], None]]:
    widget = Sparkline(list(ys))
    widget.styles.height = 30

    def change() -> None:
        ys.append(random.random() * 4)
        widget.data = list(ys)

    return widget, change


def textual_plot(ys: list[float]) -> tuple[Widget, Callable[[], None]]:
    from textual_plot import HiResMode, PlotWidget

    widget = PlotWidget()

    def change() -> None:
        ys.append(random.random() * 4)
        widget.clear()
        widget.plot(list(range(len(ys))), ys, hires_mode=HiResMode.BRAILLE)

    return widget, change


def textual_plotext(ys: list[float]) -> tuple[Widget, Callable[[], None]]:
    from textual_plotext import PlotextPlot

    widget = PlotextPlot()

    def change() -> None:
        ys.append(random.random() * 4)
        widget.plt.clear_data()
        widget.plt.plot(ys, marker="braille")
        widget.refresh()

    return widget, change


def main() -> None:
    kinds = {
        "finetui Chart": ours,
        "  with smoothing": partial(ours, kind="noisy"),
        "textual Sparkline": sparkline,
    }
    for name, module, make in (
        ("textual-plot", "textual_plot", textual_plot),
        ("textual-plotext", "textual_plotext", textual_plotext),
    ):
        if importlib.util.find_spec(module):
            kinds[name] = make
        else:
            print(f"{name}: not installed, left out")
    seconds = {
        name: [asyncio.run(cost(*make(samples(size)))) for size in SIZES] for name, make in kinds.items()
    }
    base = seconds["finetui Chart"]
    print(
        f"{'CPU ms a redraw, 120x30':26}" + "".join(f"{size:>12,}" for size in SIZES) + "   x ours at 100,000"
    )
    for name, row in seconds.items():
        print(f"{name:26}" + "".join(f"{value * 1e3:12.1f}" for value in row) + f"{row[-1] / base[-1]:12.1f}")
    print(f"finetui Chart, 100,000 samples to 1,000: {base[-1] / base[0]:.2f}x")


if __name__ == "__main__":
    main()
