"""Gauges: one row a GPU with VRAM, utilisation, temperature and power; CPU and RAM where there is no GPU."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from tui.widgets.chart import default_style
from tui.widgets.sparkline import bar

GIB = 1024**3
#: Samples of a history strip: two a character at 200 columns.
HISTORY = 400
#: Shares of the total from which a gauge warns and alarms.
WARN, ALARM = 0.85, 0.95
_HOT_C = 83.0  # where the drivers of current data centre cards begin to throttle
_LEFT, _RIGHT = (0x00, 0x40, 0x44, 0x46, 0x47), (0x00, 0x80, 0xA0, 0xB0, 0xB8)


@dataclass(frozen=True)
class Reading:
    """One row of gauges at one moment; None where the machine doesn't say.

    Bytes, percent, degrees Celsius, watts.
    """

    label: str
    used_bytes: int | None = None
    total_bytes: int | None = None
    util_percent: float | None = None
    temp_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    memory: str = "VRAM"

    @property
    def used_part(self) -> float | None:
        """Used memory of the total, 0..1."""
        if self.used_bytes is None or not self.total_bytes:
            return None
        return self.used_bytes / self.total_bytes


class HistoryStrip:
    """Values 0..1 as braille columns, two a character; a new value costs O(1), drawing O(width)."""

    def __init__(self) -> None:
        self._levels: deque[int] = deque(maxlen=HISTORY)

    def add(self, part: float | None) -> None:
        """Append one value; None and NaN leave a hole."""
        known = part is not None and math.isfinite(part)
        self._levels.append(max(1, round(min(1.0, max(0.0, part or 0.0)) * 4)) if known else 0)

    def text(self, width: int, *, ascii_only: bool = False) -> str:
        """Return the newest values, right-aligned in ``width`` characters."""
        if width < 1:
            return ""
        if ascii_only:
            return "".join(" .-=#"[level] for level in list(self._levels)[-width:]).rjust(width)
        levels = list(self._levels)[-2 * width :]
        levels = [0] * (2 * width - len(levels)) + levels
        masks = (_LEFT[a] | _RIGHT[b] for a, b in zip(levels[::2], levels[1::2], strict=True))
        return "".join(chr(0x2800 + mask) if mask else " " for mask in masks)


class GpuStrip(Widget, can_focus=True):
    """One row a reading; eight GPUs are eight rows. Only rows whose text changed are repainted."""

    help = (
        "The machine: memory in use of the total, utilisation, temperature and power, one row a GPU, "
        "with the history of the utilisation at the right. Yellow from 85 %, red from 95 %. "
        "u shows the memory's history."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "history", "History", id="gauges.history", tooltip="History of utilisation or of memory")
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "gauge--label", "gauge--good", "gauge--warn", "gauge--alarm", "gauge--text", "gauge--history",
    }  # fmt: skip
    DEFAULT_CSS = """
    GpuStrip { height: auto; min-height: 1; }
    GpuStrip > .gauge--label { color: $text-muted; }
    GpuStrip > .gauge--good { color: $success; }
    GpuStrip > .gauge--warn { color: $warning; }
    GpuStrip > .gauge--alarm { color: $error; text-style: bold; }
    GpuStrip > .gauge--text { color: $foreground; }
    GpuStrip > .gauge--history { color: $primary; }
    """

    history_of: reactive[str] = reactive("util")

    def __init__(
        self, *, ascii_only: bool | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._ascii = default_style() == "ascii" if ascii_only is None else ascii_only
        self._readings: tuple[Reading, ...] = ()
        self._histories: dict[str, tuple[HistoryStrip, HistoryStrip]] = {}
        self._stale = ""

    def show(self, readings: Sequence[Reading]) -> None:
        """Take new readings; each adds one column to its history."""
        before, self._readings = self._readings, tuple(readings)
        for reading in self._readings:
            util, memory = self._histories.setdefault(reading.label, (HistoryStrip(), HistoryStrip()))
            util.add(None if reading.util_percent is None else reading.util_percent / 100)
            memory.add(reading.used_part)
        self.refresh(layout=len(before) != len(self._readings))

    def mark_stale(self, age: str) -> None:
        """Say how old the readings are (empty: they are fresh)."""
        if age != self._stale:
            self._stale = age
            self.refresh()

    def action_history(self) -> None:
        """Show the other history."""
        self.history_of = "memory" if self.history_of == "util" else "util"

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Take what there is."""
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """One row a reading, one for the message when there is none."""
        return max(1, len(self._readings))

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width = self.size.width
        if y >= len(self._readings):
            text = "no readings yet" if not self._readings and y == 0 else ""
            return Strip([Segment(text[:width], self._ink("label"))]).adjust_cell_length(
                width, self.rich_style
            )
        return self._row(self._readings[y], width).adjust_cell_length(width, self.rich_style)

    def _row(self, reading: Reading, width: int) -> Strip:
        """Lay out what fits: label and memory always, then utilisation, temperature, power, history."""
        numbers = _memory_text(reading)
        extras = [text for text in self._extras(reading) if text]
        label = reading.label[: max(3, width // 5)] + " "
        fixed = len(label) + len(numbers) + 1
        while extras and fixed + sum(len(text) + 2 for text in extras) + 6 > width:
            extras.pop()
        room = width - fixed - sum(len(text) + 2 for text in extras)
        history_width = max(0, min(40, room // 2)) if room >= 24 and not self._stale else 0
        bar_width = max(0, min(40, room - history_width - (2 if history_width else 0)))
        segments = [
            Segment(label, self._ink("label")),
            Segment(
                bar(reading.used_part, bar_width, ascii_only=self._ascii), self._ink(level(reading.used_part))
            ),
            Segment(f" {numbers}", self._ink("text")),
        ]
        for text in extras:
            hot = text.endswith("C") and (reading.temp_c or 0) >= _HOT_C
            segments.append(Segment(f"  {text}", self._ink("alarm" if hot else "text")))
        if history_width:
            strip = self._histories[reading.label][self.history_of == "memory"]
            text = strip.text(history_width, ascii_only=self._ascii)
            segments.append(Segment(f"  {text}", self._ink("history")))
        return Strip(segments)

    def _extras(self, reading: Reading) -> list[str]:
        degree = "C" if self._ascii else "°C"
        limit = f"/{reading.power_limit_w:.0f}" if reading.power_limit_w else ""
        return [
            self._stale,
            "" if reading.util_percent is None else f"{reading.util_percent:3.0f}%",
            "" if reading.temp_c is None else f"{reading.temp_c:2.0f}{degree}",
            "" if reading.power_w is None else f"{reading.power_w:3.0f}{limit}W",
        ]

    def _ink(self, name: str) -> RichStyle:
        return self.get_component_rich_style(f"gauge--{name}")


class Gauge(Widget):
    """One labelled bar with value, total and unit."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"gauge--label", "gauge--good", "gauge--warn", "gauge--alarm"}
    DEFAULT_CSS = """
    Gauge { height: 1; }
    Gauge > .gauge--label { color: $foreground; }
    Gauge > .gauge--good { color: $success; }
    Gauge > .gauge--warn { color: $warning; }
    Gauge > .gauge--alarm { color: $error; text-style: bold; }
    """

    value: reactive[float | None] = reactive(None)
    total: reactive[float | None] = reactive(None)

    def __init__(
        self,
        label: str,
        unit: str = "",
        *,
        alarming: bool = True,
        ascii_only: bool | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._label = label
        self._unit = unit
        self._alarming = alarming
        self._ascii = default_style() == "ascii" if ascii_only is None else ascii_only

    def render_line(self, y: int) -> Strip:
        """Draw label, bar and numbers; the bar takes what is left."""
        width = self.size.width
        if y:
            return Strip.blank(width, self.rich_style)
        part = self.value / self.total if self.value is not None and self.total else None
        value = "?" if self.value is None else f"{self.value:,.4g}"
        total = "" if self.total is None else f"/{self.total:,.4g}"
        text = f" {value}{total}{' ' if self._unit else ''}{self._unit}"
        label = f"{self._label} "
        room = max(0, width - len(label) - len(text))
        ink = level(part) if self._alarming else "good"
        return Strip([
            Segment(label, self.get_component_rich_style("gauge--label")),
            Segment(bar(part, room, ascii_only=self._ascii), self.get_component_rich_style(f"gauge--{ink}")),
            Segment(text, self.get_component_rich_style("gauge--label")),
        ]).adjust_cell_length(width, self.rich_style)  # fmt: skip


def level(part: float | None) -> str:
    """Return good, warn or alarm for a share of a total."""
    if part is None or part < WARN:
        return "good"
    return "warn" if part < ALARM else "alarm"


def _memory_text(reading: Reading) -> str:
    used = "?" if reading.used_bytes is None else f"{reading.used_bytes / GIB:.1f}"
    if not reading.total_bytes:
        return f"{used} GiB {reading.memory}"
    return f"{used}/{reading.total_bytes / GIB:.1f} GiB {reading.memory}"
