"""What looks wrong with a run, in words."""

from __future__ import annotations

import json

import pytest

from remote_agent.protocol import Checkpoint, GpuSample, RunStatus, Sample
from tui.state.anomalies import anomalies
from tui.state.metrics import Metrics

GIB = 1024**3
RUNNING = RunStatus("R", "running", phase="training", s_per_step=0.5)


def metrics_of(*losses: float | None) -> Metrics:
    metrics = Metrics()
    records = [
        {"event": "log", "t": float(step), "step": step, "loss": loss}
        | ({"nonfinite": ["loss"]} if loss is None else {})
        for step, loss in enumerate(losses, 1)
    ]
    metrics.feed(0, b"".join(json.dumps(record).encode() + b"\n" for record in records))
    return metrics


def test_a_healthy_run_has_none() -> None:
    assert anomalies(RUNNING, metrics_of(3.0, 2.0, 1.0), silent_s=1.0) == []
    assert anomalies(RUNNING, Metrics(), silent_s=1.0) == []


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ((3.0, 2.0, None), "not finite at step 3"),
        ((3.0, 2.0, 0.0), "exactly 0 at step 3"),
        ((1.0, 1.1, 0.9, 1.0, 1.0, 9.0), "jumped to 9 from about 1"),
    ],
)
def test_losses_that_look_wrong(losses: tuple[float | None, ...], words: str) -> None:
    (found,) = anomalies(RUNNING, metrics_of(*losses), silent_s=1.0)
    assert words in found


def test_a_small_jump_of_a_small_loss_is_no_spike() -> None:
    assert anomalies(RUNNING, metrics_of(0.01, 0.01, 0.01, 0.01, 0.01, 0.09), silent_s=1.0) == []


def test_a_stall_counts_from_five_usual_steps_but_not_before_half_a_minute() -> None:
    metrics = metrics_of(1.0)
    assert anomalies(RUNNING, metrics, silent_s=29.0) == []
    assert "no step for 31 s" in anomalies(RUNNING, metrics, silent_s=31.0)[0]
    slow = RunStatus("R", "running", phase="training", s_per_step=20.0)
    assert anomalies(slow, metrics, silent_s=99.0) == []
    assert anomalies(slow, metrics, silent_s=101.0)
    saving = RunStatus("R", "running", phase="saving", s_per_step=0.5)
    assert anomalies(saving, metrics, silent_s=500.0) == []


def test_memory_and_disk_at_the_edge() -> None:
    sample = Sample(
        1.0,
        disk_used_bytes=99 * GIB,
        disk_total_bytes=100 * GIB,
        gpus=(GpuSample(0, "A", None, 79 * GIB, 80 * GIB), GpuSample(1, "A", None, 60 * GIB, 80 * GIB)),
    )
    checkpoint = Checkpoint("R@1", 1, 14 * GIB, True, "p", 0.0)
    vram, disk = anomalies(RUNNING, metrics_of(1.0), 1.0, sample, [checkpoint])
    assert "GPU0" in vram
    assert "GPU1" not in vram
    assert "1.0 GiB free" in disk
    assert "14.0 GiB" in disk
