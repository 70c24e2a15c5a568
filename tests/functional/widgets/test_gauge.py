"""Eight GPUs fit in eight rows; a machine without one shows CPU and RAM; nothing is ever cut wrongly."""

import asyncio

import pytest
from textual.app import App, ComposeResult

from tui.widgets.gauge import GIB, Gauge, GpuStrip, Reading

GPUS = [
    Reading(f"GPU{n}", (10 + n * 9) * GIB, 80 * GIB, 90.0 + n, 60.0 + 4 * n, 300.0 + n, 700.0)
    for n in range(8)
]


class Demo(App[None]):
    def __init__(self, *widgets) -> None:
        super().__init__()
        self.widgets = widgets

    def compose(self) -> ComposeResult:
        yield from self.widgets


def drive(scenario, *widgets, size=(80, 24)):
    async def main() -> None:
        app = Demo(*widgets)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await scenario(app, pilot)

    asyncio.run(main())


def shown(widget) -> list[str]:
    return [widget.render_line(y).text for y in range(widget.size.height)]


def test_eight_gpus_at_80x24():
    strip = GpuStrip()

    async def scenario(app, pilot):
        for _ in range(20):
            strip.show(GPUS)
        await pilot.pause()
        rows = shown(strip)
        assert len(rows) == 8
        assert all(len(row) == 80 for row in rows)
        assert "GPU7" in rows[7]
        for text in ("73.0/80.0 GiB VRAM", "97%", "88°C", "307/700W"):
            assert text in rows[7]

    drive(scenario, strip)


@pytest.mark.parametrize("size", [(20, 5), (40, 9), (120, 40), (200, 60), (1, 1), (5, 3)])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_any_size(size, ascii_only):
    strip, gauge = GpuStrip(ascii_only=ascii_only), Gauge("disk", "GiB", ascii_only=ascii_only)

    async def scenario(app, pilot):
        strip.show(GPUS)
        gauge.value, gauge.total = 3.25, 4.0
        await pilot.pause()
        for widget in (strip, gauge):
            rows = shown(widget)
            assert all(len(row) == widget.size.width for row in rows)
            if ascii_only:
                assert "".join(rows).isascii()
        if size == (20, 5):
            assert "10.0/80.0" in shown(strip)[0]

    drive(scenario, strip, gauge, size=size)


def test_unknown_values_are_question_marks_not_zeros():
    strip = GpuStrip()

    async def scenario(app, pilot):
        assert "no readings yet" in shown(strip)[0]
        strip.show([Reading("GPU0", None, 80 * GIB)])
        await pilot.pause()
        row = shown(strip)[0]
        assert "?/80.0 GiB" in row
        assert "%" not in row
        strip.show([Reading("CPU", 5 * GIB, 20 * GIB, 50.0, memory="RAM")])
        await pilot.pause()
        assert "5.0/20.0 GiB RAM" in shown(strip)[0]
        assert "50%" in shown(strip)[0]

    drive(scenario, strip)


def test_alarm_is_in_the_style_and_stale_data_is_said():
    strip = GpuStrip()

    async def scenario(app, pilot):
        strip.show([Reading("GPU0", 79 * GIB, 80 * GIB, 10.0)])
        await pilot.pause()
        bars = next(segment for segment in strip.render_line(0) if "█" in segment.text)
        assert bars.style == strip.get_component_rich_style("gauge--alarm")
        strip.mark_stale("12 s ago")
        assert "12 s ago" in shown(strip)[0]

    drive(scenario, strip)


def test_history_switches_between_utilisation_and_memory():
    strip = GpuStrip(ascii_only=True)

    async def scenario(app, pilot):
        strip.focus()
        for _ in range(10):
            strip.show([Reading("GPU0", 8 * GIB, 80 * GIB, 100.0)])
        await pilot.pause()
        assert shown(strip)[0].rstrip().endswith("##########")
        await pilot.press("u")
        assert shown(strip)[0].rstrip().endswith("..........")

    drive(scenario, strip)


def test_one_gauge():
    gauge = Gauge("disk", "GiB", ascii_only=True)

    async def scenario(app, pilot):
        assert shown(gauge)[0].startswith("disk ??")
        gauge.value, gauge.total = 25.0, 100.0
        await pilot.pause()
        row = shown(gauge)[0]
        assert row.endswith("25/100 GiB")
        assert row.count("#") == pytest.approx(row.count(".") / 3, abs=1)

    drive(scenario, gauge)


def test_keys_are_documented():
    assert GpuStrip.help
    assert all(binding.id and binding.tooltip for binding in GpuStrip.BINDINGS)
