"""Whether a preset fits a card, before anything is rented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from presets.cards import card_vram_bytes
from presets.errors import InvalidInput
from presets.models import architecture
from presets.sizing import Estimate, estimate
from presets.spec import RunSpec
from tui.operations.plan import resolve_spec

#: A run that is reckoned to fill more of a card may not fit: estimates are within 10 %.
USABLE = 0.9


@dataclass(frozen=True)
class Fit:
    """What a run needs; ``fits`` is None when no card was named."""

    spec: RunSpec
    need: Estimate
    vram_bytes: int | None
    fits: bool | None


def estimate_preset(
    preset: str, sets: Sequence[str] = (), gpu: str | None = None, gpus: int | None = None
) -> Fit:
    """Reckon what a preset needs on ``gpus`` cards called ``gpu``; raises InvalidInput."""
    vram = card_vram_bytes(gpu) if gpu is not None else None
    spec = resolve_spec(preset, [*sets, *([f"gpus={gpus}"] if gpus is not None else [])])
    shape = architecture(spec)
    if shape is None:
        raise InvalidInput(
            f"The shape of {spec.model} is not known, so its memory can't be estimated.",
            remedy="Estimate a preset of the same size, or watch the VRAM of the first steps.",
        )
    need = estimate(spec, shape, spec.gpus)
    return Fit(spec, need, vram, None if vram is None else need.per_gpu_bytes <= USABLE * vram)
