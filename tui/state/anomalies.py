"""What looks wrong with a run that goes on, in words, each with what to do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from remote_agent.protocol import Checkpoint, RunStatus, Sample
from tui.state.metrics import Metrics

#: A spike is a loss over this many times the median of the steps before it.
SPIKE = 3.0
_SPIKE_WINDOW = 20
#: No step for this many times the usual step is a stall, but never sooner than STALL_LEAST_S.
STALL = 5.0
STALL_LEAST_S = 30.0
#: Share of a card's memory from which the next longer batch may not fit.
VRAM_EDGE = 0.97


def anomalies(
    status: RunStatus,
    metrics: Metrics,
    silent_s: float,
    sample: Sample | None = None,
    checkpoints: Sequence[Checkpoint] = (),
) -> list[str]:
    """Return the findings, the gravest first; ``silent_s`` is how many seconds ago the last step came."""
    found = [*_losses(metrics), *_stall(status, silent_s)]
    if sample is not None:
        found += [*_memory(sample), *_disk(sample, checkpoints)]
    return found


def _losses(metrics: Metrics) -> list[str]:
    newest = metrics.newest
    step = newest.get("step")
    bad = [str(name) for name in newest.get("nonfinite") or ()]
    if bad:
        return [f"{' and '.join(bad)} not finite at step {step}: lower the learning rate, or train in bf16"]
    losses = metrics.series("loss").y
    if not losses:
        return []
    if losses[-1] == 0:
        return [f"the loss is exactly 0 at step {step}: nothing is learnt; check columns and chat template"]
    before = [value for value in losses[-_SPIKE_WINDOW - 1 : -1] if math.isfinite(value)]
    if len(before) >= 5:
        usual = statistics.median(before)
        if losses[-1] > SPIKE * usual and losses[-1] - usual > 0.5:
            return [f"the loss jumped to {losses[-1]:.3g} from about {usual:.3g}: watch the next steps"]
    return []


def _stall(status: RunStatus, silent_s: float) -> list[str]:
    if status.state != "running" or status.phase != "training" or not status.s_per_step:
        return []
    if silent_s < max(STALL_LEAST_S, STALL * status.s_per_step):
        return []
    return [
        f"no step for {silent_s:.0f} s, usually one takes {status.s_per_step:.1f} s: "
        "look at the log; a rank may hang"
    ]


def _memory(sample: Sample) -> list[str]:
    full = [
        gpu
        for gpu in sample.gpus
        if gpu.vram_total_bytes
        and gpu.vram_used_bytes is not None
        and gpu.vram_used_bytes > VRAM_EDGE * gpu.vram_total_bytes
    ]
    if not full:
        return []
    names = ", ".join(f"GPU{gpu.index}" for gpu in full)
    return [f"VRAM is nearly full on {names}: a longer batch may not fit"]


def _disk(sample: Sample, checkpoints: Sequence[Checkpoint]) -> list[str]:
    if not checkpoints or sample.disk_total_bytes is None or sample.disk_used_bytes is None:
        return []
    free = sample.disk_total_bytes - sample.disk_used_bytes
    need = max(item.bytes for item in checkpoints)
    if free >= need:
        return []
    gib = 1024**3
    return [f"the disk has {free / gib:.1f} GiB free and a checkpoint takes {need / gib:.1f} GiB: make room"]
