"""What looks wrong with a run, in words, each with what to do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from remote_agent.protocol import ENDED, Checkpoint, RunStatus, Sample
from tui.state.logsigns import Sign, signs_in
from tui.state.metrics import Metrics
from tui.state.series import Series

#: A spike is this many deviations (1.4826 x MAD) over the median of the SPIKE_WINDOW logs before it,
#: and at least half of that median and SPIKE_LEAST.
SPIKE = 10.0
SPIKE_LEAST = 0.1
SPIKE_WINDOW = 40
_MAD_TO_SIGMA = 1.4826
#: A spike is news for this many logs.
_RECENT = 10
#: No step for this many times the usual wait is a stall, but never sooner than STALL_LEAST_S.
STALL = 5.0
STALL_LEAST_S = 30.0
#: Share of a card's memory from which the next longer batch may not fit.
VRAM_EDGE = 0.97
#: Characters of a log line that a finding quotes.
_QUOTED = 160
_GIB = 1024**3


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong: what, where, and what to do about it."""

    kind: str
    text: str
    remedy: str
    step: int | None = None
    #: The run does not survive it, or what it makes is worthless.
    grave: bool = False
    #: The line of the log that said so.
    quote: str = ""

    @property
    def sentence(self) -> str:
        """Both parts in one line."""
        return f"{self.text}: {self.remedy}"


def anomalies(
    status: RunStatus,
    metrics: Metrics,
    silent_s: float,
    *,
    sample: Sample | None = None,
    checkpoints: Sequence[Checkpoint] = (),
    log: Iterable[Finding] = (),
) -> list[Finding]:
    """Return the findings, the gravest first.

    ``silent_s`` is how many seconds ago the last step came; ``log`` what ``log_findings`` found.
    """
    found = [finding for finding in log if _counts(finding, status, metrics)]
    if status.state not in ENDED:
        stalled = _stall(status, metrics, silent_s)
        found += [*_losses(metrics), *stalled]
        if sample is not None:
            found += [*_memory(sample), *_disk(sample, checkpoints, metrics)]
            if stalled:
                found += _idle_rank(metrics, sample)
    return sorted(found, key=lambda finding: not finding.grave)


def log_findings(text: str, step: int | None) -> list[Finding]:
    """Return what lines of the log mean; ``step`` is the last one when they were read."""
    return [_of_line(sign, line, step) for sign, line in signs_in(text)]


def _of_line(sign: Sign, line: str, step: int | None) -> Finding:
    return Finding(sign.kind, sign.text, sign.remedy, step, sign.fatal, line.strip()[:_QUOTED])


def _counts(finding: Finding, status: RunStatus, metrics: Metrics) -> bool:
    """Tell whether a line still says something: a run that went on afterwards has survived it."""
    if not finding.grave:
        return True
    if status.state in ("finished", "stopped"):
        return False
    newest = metrics.newest.get("step")
    return status.state in ENDED or newest is None or newest <= (finding.step or 0)


def _losses(metrics: Metrics) -> list[Finding]:
    loss = metrics.series("loss")
    for series in (loss, metrics.series("grad_norm")):
        if series.y and not math.isfinite(series.y[-1]):
            step = _since(series)
            return [
                Finding("nonfinite", f"{series.name} is not finite since step {step}",
                        "lower the learning_rate, or train in bf16; resume from a checkpoint before it",
                        step, True)
            ]  # fmt: skip
    if len(loss) >= 2 and loss.y[-1] == 0 == loss.y[-2]:
        step = int(loss.x[-1])
        return [
            Finding("zero", f"the loss is exactly 0 at step {step}: nothing is learnt",
                    "check the columns and the chat template; in fp16, train in bf16", step, True)
        ]  # fmt: skip
    return _spike(loss)


def _since(series: Series) -> int:
    index = len(series) - 1
    while index > 0 and not math.isfinite(series.y[index - 1]):
        index -= 1
    return int(series.x[index])


def _spike(loss: Series) -> list[Finding]:
    for index in range(len(loss) - 1, max(4, len(loss) - 1 - _RECENT), -1):
        value = loss.y[index]
        before = [item for item in loss.y[max(0, index - SPIKE_WINDOW) : index] if math.isfinite(item)]
        if len(before) < 5 or not math.isfinite(value):
            continue
        usual = statistics.median(before)
        spread = _MAD_TO_SIGMA * statistics.median(abs(item - usual) for item in before)
        if value - usual > max(SPIKE * spread, abs(usual) / 2, SPIKE_LEAST):
            step = int(loss.x[index])
            return [
                Finding("spike", f"the loss jumped to {value:.3g} from about {usual:.3g} at step {step}",
                        "if it does not come down again, resume from before it with a lower learning_rate",
                        step)
            ]  # fmt: skip
    return []


def usual_wait_s(status: RunStatus, metrics: Metrics) -> float | None:
    """Return the usual time between two logged steps in seconds, None while it isn't known."""
    seconds = [item for item in metrics.series("s_per_step").y[-50:] if math.isfinite(item) and item > 0]
    per_step = statistics.median(seconds) if seconds else status.s_per_step
    if not per_step:
        return None
    steps = [after - before for before, after in pairwise(metrics.series("loss").x[-50:]) if after > before]
    return per_step * (statistics.median(steps) if steps else 1.0)


def _stall(status: RunStatus, metrics: Metrics, silent_s: float) -> list[Finding]:
    wait_s = usual_wait_s(status, metrics)
    if status.state != "running" or status.phase != "training" or wait_s is None:
        return []
    if silent_s < max(STALL_LEAST_S, STALL * wait_s):
        return []
    return [
        Finding("stall", f"no step for {silent_s:.0f} s, usually one is logged every {wait_s:.1f} s",
                "look at the log; a rank may hang", status.step)
    ]  # fmt: skip


def _idle_rank(metrics: Metrics, sample: Sample) -> list[Finding]:
    """In a stall the waiting ranks spin at full load; one that is gone leaves its card idle."""
    if metrics.newest.get("ranks") not in (None, len(sample.gpus)) or len(sample.gpus) < 2:
        return []
    loads = [gpu.util_percent for gpu in sample.gpus]
    idle = [gpu for gpu in sample.gpus if gpu.util_percent is not None and gpu.util_percent <= 5]
    if not idle or not any(load is not None and load >= 90 for load in loads):
        return []
    names = ", ".join(f"GPU{gpu.index}" for gpu in idle)
    return [
        Finding("rank", f"{names} idles while the others wait at full load: its rank may be gone",
                "stop the run and resume it from the last checkpoint")
    ]  # fmt: skip


def _memory(sample: Sample) -> list[Finding]:
    full = [
        gpu
        for gpu in sample.gpus
        if gpu.vram_total_bytes
        and gpu.vram_used_bytes is not None
        and gpu.vram_used_bytes >= VRAM_EDGE * gpu.vram_total_bytes
    ]
    if not full:
        return []
    names = ", ".join(f"GPU{gpu.index}" for gpu in full)
    return [
        Finding("vram-edge", f"VRAM is nearly full on {names}",
                "a longer batch may not fit; a smaller micro_batch or cutoff_len leaves room")
    ]  # fmt: skip


def _disk(sample: Sample, checkpoints: Sequence[Checkpoint], metrics: Metrics) -> list[Finding]:
    if not checkpoints or sample.disk_total_bytes is None or sample.disk_used_bytes is None:
        return []
    free = sample.disk_total_bytes - sample.disk_used_bytes
    need = max(item.bytes for item in checkpoints)
    if free >= need:
        return []
    saved = sorted(metrics.saves)
    when = f" at about step {2 * saved[-1] - saved[-2]}" if len(saved) > 1 else ""
    return [
        Finding("disk-forecast",
                f"the next checkpoint{when} takes {need / _GIB:.1f} GiB and {free / _GIB:.1f} GiB are free",
                "delete old checkpoints or runs before it is saved (f shows the files)")
    ]  # fmt: skip
