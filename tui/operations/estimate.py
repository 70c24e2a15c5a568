"""Whether a preset fits a card and how fast it trains there, before anything is rented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from presets.check import total_steps
from presets.dataset import inspect, parse_mapping
from presets.errors import InvalidInput
from presets.gpus import Card, card
from presets.models import Architecture, architecture
from presets.sizing import Estimate, estimate
from presets.spec import RunSpec
from presets.throughput import Throughput, throughput
from presets.verdict import Verdict, judge, what_fits
from tui.operations.plan import resolve_spec


@dataclass(frozen=True)
class Fit:
    """What a run needs; without a card there is no verdict, speed or way, without data no tokens.

    ``ways`` are the ``--set`` changes that make it fit, the cheapest first. ``tokens`` is for the whole run.
    """

    spec: RunSpec
    shape: Architecture
    need: Estimate
    card: Card | None = None
    verdict: Verdict | None = None
    ways: tuple[str, ...] = ()
    speed: Throughput | None = None
    tokens: float | None = None

    @property
    def fits(self) -> bool | None:
        """Whether it fits even at the high end; None when no card was named."""
        return None if self.verdict is None else self.verdict == "fits"

    @property
    def seconds(self) -> float | None:
        """How long the run takes; None without a card or data."""
        return None if self.speed is None or self.tokens is None else self.speed.seconds(self.tokens)


def estimate_preset(
    preset: str,
    sets: Sequence[str] = (),
    gpu: str | None = None,
    gpus: int | None = None,
    *,
    data: Path | None = None,
    mapping: str = "",
) -> Fit:
    """Reckon what a preset needs on ``gpus`` cards called ``gpu``; raises InvalidInput."""
    named = card(gpu) if gpu is not None else None
    spec = resolve_spec(preset, [*sets, *([f"gpus={gpus}"] if gpus is not None else [])])
    shape = architecture(spec)
    if shape is None:
        raise InvalidInput(
            f"The shape of {spec.model} is not known, so its memory can't be estimated.",
            remedy="Estimate a preset of the same size, or watch the VRAM of the first steps.",
        )
    need = estimate(spec, shape, spec.gpus)
    tokens = None if data is None else _tokens(spec, data, mapping)
    if named is None:
        return Fit(spec, shape, need, tokens=tokens)
    verdict = judge(need, named.vram_bytes)
    return Fit(
        spec,
        shape,
        need,
        card=named,
        verdict=verdict,
        ways=() if verdict == "fits" else what_fits(spec, shape, spec.gpus, named.vram_bytes),
        speed=throughput(spec, shape, named, spec.gpus),
        tokens=tokens,
    )


def _tokens(spec: RunSpec, data: Path, mapping: str) -> float:
    """Return the tokens that all steps of the run compute; rows longer than cutoff_len are cut."""
    report = inspect(data, parse_mapping(mapping))
    histogram = report.lengths.histogram
    kept = sum(min(length, spec.cutoff_len) * count for length, count in histogram)
    if spec.max_steps is None:
        return kept * (1 - spec.eval_share) * spec.epochs
    rows = total_steps(spec, report.rows) * spec.micro_batch * spec.gradient_accumulation * spec.gpus
    return rows * (spec.cutoff_len if spec.packing else kept / report.rows)
