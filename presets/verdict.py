"""Whether an estimate fits a card, and what would make it fit."""

from __future__ import annotations

from typing import Literal

import msgspec

from presets.errors import InvalidInput
from presets.models import Architecture
from presets.rules import check_together
from presets.sizing import Estimate, estimate
from presets.spec import RunSpec

Verdict = Literal["fits", "tight", "no"]

#: Changes in the order of what they cost: nothing, speed, then quality.
_WAYS: tuple[dict[str, object], ...] = (
    {"liger": True},
    {"gradient_checkpointing": True},
    {"zero_stage": 2},
    {"micro_batch": 1},
    {"zero_stage": 3},
    {"zero_stage": 3, "micro_batch": 1},
    {"zero_stage": 2, "offload_optimizer": True},
    {"zero_stage": 3, "offload_optimizer": True},
    {"method": "lora"},
    {"method": "lora", "micro_batch": 1},
    {"method": "qlora", "quantization_bit": 8, "zero_stage": None},
    {"method": "qlora", "quantization_bit": 4, "zero_stage": None},
    {"method": "qlora", "quantization_bit": 4, "zero_stage": None, "micro_batch": 1},
    {"zero_stage": 3, "offload_optimizer": True, "offload_param": True},
)
#: Adapters need no offload, and learn with a tenfold rate.
_WITH_ADAPTERS = {"offload_optimizer": False, "offload_param": False, "learning_rate": 1e-4}


def judge(need: Estimate, vram_bytes: int) -> Verdict:
    """Say ``fits`` when even the high end does, ``tight`` when only the estimate itself does, else ``no``."""
    if need.high_bytes <= vram_bytes:
        return "fits"
    return "tight" if need.per_gpu_bytes <= vram_bytes else "no"


def what_fits(spec: RunSpec, arch: Architecture, gpus: int, vram_bytes: int) -> tuple[str, ...]:
    """Return the ``--set`` changes under which the run fits, the cheapest first; none when nothing helps."""
    return tuple(
        " ".join(f"--set {key}={_typed(value)}" for key, value in changed.items())
        for changed, other in _others(spec)
        if judge(estimate(other, arch, gpus), vram_bytes) == "fits"
    )


def _others(spec: RunSpec) -> list[tuple[dict[str, object], RunSpec]]:
    found = []
    for way in _WAYS:
        keys = {**_WITH_ADAPTERS, **way} if "method" in way and spec.method in ("full", "freeze") else way
        changed = {key: value for key, value in keys.items() if getattr(spec, key) != value}
        other = msgspec.structs.replace(spec, **changed)
        if changed and _is_sound(other):
            found.append((changed, other))
    return found


def _is_sound(spec: RunSpec) -> bool:
    try:
        check_together(spec, {})
    except InvalidInput:
        return False
    return True


def _typed(value: object) -> str:
    """Return a value as ``--set`` reads it."""
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
