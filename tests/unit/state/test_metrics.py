"""metrics.jsonl becomes series: torn, broken and superseded lines included."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.state.metrics import Metrics
from tui.state.spool import SpoolGap


def log(step: int, loss: float | None, **more: object) -> dict[str, object]:
    return {"event": "log", "t": 1000.0 + step, "step": step, "total": 100, "loss": loss, **more}


def begin(step: int, attempt: int, t: float) -> dict[str, object]:
    return {"event": "begin", "t": t, "step": step, "total": 100, "ranks": 1, "attempt": attempt}


def as_bytes(*events: dict[str, object]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def points(metrics: Metrics, name: str, axis: str = "step") -> list[tuple[float, float]]:
    series = metrics.series(name, axis)
    return list(zip(series.x, series.y, strict=True))


@given(st.lists(st.integers(1, 400), max_size=30))
def test_any_chunking_gives_the_same_series(sizes):
    data = as_bytes(begin(0, 1, 1000.0), *(log(step, 1 / step, lr=1e-4) for step in range(1, 30)))
    metrics = Metrics()
    offset = 0
    for size in [*sizes, len(data)]:
        metrics.feed(offset, data[offset : offset + size])
        offset = min(len(data), offset + size)
    assert points(metrics, "loss") == [(step, 1 / step) for step in range(1, 30)]
    assert metrics.bad_lines == 0
    assert metrics.names == ["loss", "lr"]


def test_broken_lines_are_counted_and_left_out():
    metrics = Metrics()
    metrics.feed(0, b'not json\n{"step": "x"}\n[1]\n\n{"step": 1, "loss": NaN}\n' + as_bytes(log(2, 0.5)))
    assert metrics.bad_lines == 4
    assert points(metrics, "loss") == [(2, 0.5)]


def test_an_endless_line_is_one_bad_line():
    metrics = Metrics()
    data = b"x" * 200_000 + b"\n" + as_bytes(log(1, 1.0))
    for offset in range(0, len(data), 10_000):
        metrics.feed(offset, data[offset : offset + 10_000])
    assert metrics.bad_lines == 1
    assert points(metrics, "loss") == [(1, 1.0)]


def test_a_resume_supersedes_later_steps_on_every_axis():
    metrics = Metrics()
    first = [log(step, float(step), tokens=step * 10) for step in (10, 20, 30)]
    second = [log(step, -float(step), tokens=step * 10, t=5000.0 + step) for step in (21, 22)]
    metrics.feed(0, as_bytes(begin(0, 1, 1000.0), *first, begin(20, 2, 5020.0), *second))
    assert points(metrics, "loss") == [(10, 10.0), (20, 20.0), (21, -21.0), (22, -22.0)]
    # Training time leaves the pause between the attempts out.
    assert points(metrics, "loss", "time") == [(10, 10.0), (20, 20.0), (21, -21.0), (22, -22.0)]
    assert points(metrics, "loss", "tokens") == [(100, 10.0), (200, 20.0), (210, -21.0), (220, -22.0)]


def test_tokens_that_restart_after_a_resume_go_on():
    metrics = Metrics()
    metrics.feed(0, as_bytes(begin(0, 1, 1000.0), log(10, 1.0, tokens=100), begin(10, 2, 2000.0)))
    more = [log(step, 1.0, tokens=(step - 10) * 60, t=2000.0 + step) for step in (11, 12, 13)]
    metrics.feed(metrics.size, as_bytes(*more))
    assert [x for x, _ in points(metrics, "loss", "tokens")] == [100, 160, 220, 280]


def test_nonfinite_numbers_are_gaps_and_absent_ones_are_not():
    metrics = Metrics()
    metrics.feed(0, as_bytes(log(1, None, nonfinite=["loss"], lr=None), log(2, 1.0)))
    assert math.isnan(points(metrics, "loss")[0][1])
    assert points(metrics, "lr") == []
    assert metrics.newest["loss"] == 1.0
    assert metrics.newest["nonfinite"] == []


def test_peak_vram_per_rank_and_saves():
    metrics = Metrics()
    save = {"event": "save", "t": 1001.0, "step": 1, "path": "checkpoint-1", "seconds": 1.2}
    metrics.feed(0, as_bytes(log(1, 1.0, peak_vram_bytes=[5, 6]), save))
    assert points(metrics, "peak_vram_bytes.1") == [(1, 6.0)]
    assert metrics.series("peak_vram_bytes.0").unit == "bytes"
    assert metrics.saves == {1: "checkpoint-1"}


def test_a_hole_is_refused_and_an_overlap_trimmed():
    metrics = Metrics()
    data = as_bytes(log(1, 1.0), log(2, 2.0))
    metrics.feed(0, data[:40])
    with pytest.raises(SpoolGap):
        metrics.feed(50, data[50:])
    metrics.feed(10, data[10:])
    assert points(metrics, "loss") == [(1, 1.0), (2, 2.0)]


def test_a_clock_that_jumps_back_never_reorders():
    metrics = Metrics()
    metrics.feed(0, as_bytes(begin(0, 1, 1000.0), log(1, 1.0, t=1010.0), log(2, 2.0, t=500.0)))
    assert points(metrics, "loss", "time") == [(10, 1.0), (10, 2.0)]
