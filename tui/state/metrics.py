"""metrics.jsonl as named series: parsed as it arrives, superseded where a run was resumed."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from tui.state.logjump import StepTime
from tui.state.series import Series
from tui.state.spool import SpoolGap

Axis = Literal["step", "time", "tokens"]

#: Key in metrics.jsonl -> unit of its series.
UNITS = {
    "loss": "",
    "eval_loss": "",
    "lr": "",
    "grad_norm": "",
    "tokens_per_s": "tokens/s",
    "s_per_step": "s",
}
#: A longer line is damage, not a metric.
MAX_LINE_BYTES = 64 * 1024


class Metrics:
    """The series of one run, by step, by training time (s, pauses left out) and by tokens.

    Feed it with the file's bytes in order; torn lines wait for their rest, broken ones are counted.
    Not thread-safe: one thread feeds and reads it.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything: the file was replaced."""
        #: Bytes taken in; the offset to subscribe at.
        self.size = 0
        self.bad_lines = 0
        #: The newest value of every key, with the event that brought it last under "event".
        self.newest: dict[str, Any] = {}
        #: Steps at which a checkpoint was saved -> its path.
        self.saves: dict[int, str] = {}
        self._torn = bytearray()
        self._skipping = False
        self._series: dict[Axis, dict[str, Series]] = {"step": {}, "time": {}, "tokens": {}}
        self._time = Series("time", "s")
        #: When a step was logged, in seconds since the epoch.
        self._wall: dict[int, float] = {}
        self._tokens = Series("tokens", "tokens")
        self._began: float | None = None
        self._time_base = 0.0
        self._token_base: float | None = None

    @property
    def names(self) -> list[str]:
        """The series that have at least one sample, in the order of their first one."""
        return [name for name, series in self._series["step"].items() if series]

    def series(self, name: str, axis: Axis = "step") -> Series:
        """Return the series of that name, empty when nothing was logged yet; always the same object."""
        known = self._series[axis]
        if name not in known:
            known[name] = Series(name, UNITS.get(name, "bytes" if name.startswith("peak_vram_bytes") else ""))
        return known[name]

    def when(self, step: int) -> StepTime | None:
        """Return when the nearest logged step was written; None while nothing was logged."""
        if not self._wall:
            return None
        nearest = min(self._wall, key=lambda known: abs(known - step))
        first, last = min(self._wall.values()), max(self._wall.values())
        return StepTime(self._wall[nearest], (self._wall[nearest] - first) / max(1e-9, last - first))

    def feed(self, offset: int, data: bytes) -> int:
        """Parse what is new of ``data`` and return the number of events; raises SpoolGap on a hole."""
        if offset > self.size:
            raise SpoolGap(
                f"the metrics continue at byte {offset}, but only {self.size} bytes are here",
                remedy=f"read them again from byte {self.size}",
            )
        data = data[self.size - offset :]
        self.size += len(data)
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(self._torn) + lines[0]
            self._torn.clear()
        events = sum(self._line(line) for line in lines)
        self._torn += rest
        if len(self._torn) > MAX_LINE_BYTES:
            self._torn.clear()
            self._skipping = True
        return events

    def _line(self, line: bytes) -> bool:
        if self._skipping:
            self._skipping = False
            self.bad_lines += 1
            return False
        if not line.strip():
            return False
        try:
            event = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = None
        if not isinstance(event, dict) or _number(event.get("step")) is None:
            self.bad_lines += 1
            return False
        self._take(event, float(event["step"]))
        return True

    def _take(self, event: dict[str, Any], step: float) -> None:
        kind = event.get("event")
        at = _number(event.get("t"))
        if kind == "begin":
            self._begin(step, at)
        elif self._time.x and step < self._time.x[-1]:
            self._supersede(step)
        self.newest.update({"nonfinite": [], **event})
        if kind == "save" and isinstance(event.get("path"), str):
            self.saves[int(step)] = event["path"]
        self._place(step, at, _number(event.get("tokens")))
        nonfinite = event.get("nonfinite") or ()
        for name, value in _values(event):
            if value is None and name not in nonfinite:
                continue
            self._add(name, step, math.nan if value is None else value)

    def _begin(self, step: float, at: float | None) -> None:
        self._supersede(step)
        self._began = at
        self._time_base = self._time.last or 0.0
        self._token_base = None

    def _supersede(self, step: float) -> None:
        """Drop what lies after ``step`` on every axis."""
        limits: dict[Axis, float] = {"step": step}
        self._time.truncate_after(step)
        self._tokens.truncate_after(step)
        limits["time"] = self._time.last if self._time.last is not None else -math.inf
        limits["tokens"] = self._tokens.last if self._tokens.last is not None else -math.inf
        for axis, limit in limits.items():
            for series in self._series[axis].values():
                series.truncate_after(limit)
        self.saves = {saved: path for saved, path in self.saves.items() if saved <= step}

    def _place(self, step: float, at: float | None, tokens: float | None) -> None:
        """Record where ``step`` lies on the time and token axes; both never run backwards.

        A token count that starts again after a resume goes on from where the earlier attempt was.
        """
        if at is not None:
            self._wall[int(step)] = at
            self._began = at if self._began is None else self._began
            self._time.append(step, max(self._time_base + at - self._began, self._time.last or 0.0))
        if tokens is not None:
            before = self._tokens.last or 0.0
            if self._token_base is None:
                self._token_base = before if tokens < before else 0.0
            self._tokens.append(step, max(self._token_base + tokens, before))

    def _add(self, name: str, step: float, value: float) -> None:
        self.series(name).append(step, value)
        if self._time.last is not None:
            self.series(name, "time").append(self._time.last, value)
        if self._tokens.last is not None:
            self.series(name, "tokens").append(self._tokens.last, value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _values(event: dict[str, Any]) -> list[tuple[str, float | None]]:
    """Return (series, value) of an event; None stands for a number that was NaN or infinite."""
    values = [(name, _number(event[name])) for name in UNITS if name in event]
    peaks = event.get("peak_vram_bytes")
    if isinstance(peaks, list):
        values += [(f"peak_vram_bytes.{rank}", _number(peak)) for rank, peak in enumerate(peaks)]
    return values
