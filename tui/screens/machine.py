"""The machine of a run: one row a GPU, then CPU with RAM, then the disk."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from remote_agent.protocol import Sample
from tui.screens.wording import brief, one_line
from tui.widgets.gauge import GpuStrip, Reading


def readings_of(sample: Sample) -> list[Reading]:
    """Return a sample as rows of gauges."""
    rows = [
        Reading(
            f"GPU{gpu.index}",
            gpu.vram_used_bytes,
            gpu.vram_total_bytes,
            gpu.util_percent,
            gpu.temp_c,
            gpu.power_w,
            gpu.power_limit_w,
        )
        for gpu in sample.gpus
    ]
    rows.append(
        Reading("CPU", sample.ram_used_bytes, sample.ram_total_bytes, sample.cpu_percent, memory="RAM")
    )
    if sample.disk_total_bytes:
        rows.append(Reading("disk", sample.disk_used_bytes, sample.disk_total_bytes, memory="disk"))
    return rows


class MachineGauges(VerticalScroll, can_focus=False):
    """Gauges, and in words what the machine can't show."""

    def __init__(self, ascii_only: bool) -> None:
        super().__init__()
        self._strip = GpuStrip(ascii_only=ascii_only, id="machine")
        self._missing = Static(classes="machine-missing")

    def compose(self) -> ComposeResult:
        """Yield the strip above the words."""
        yield self._strip
        yield self._missing

    def show(self, sample: Sample) -> None:
        """Show a new sample."""
        self._strip.show(readings_of(sample))
        text = one_line("; ".join(sample.missing))
        if self._missing.content != text:
            self._missing.update(Content(text))

    def mark_age(self, age_s: float | None) -> None:
        """Say how old the sample is; None when it is fresh."""
        self._strip.mark_stale("" if age_s is None else f"{brief(age_s)} old")
