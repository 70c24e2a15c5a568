"""How much disk a run needs: environment, download, checkpoints, final weights."""

from __future__ import annotations

import math

from presets.gpus import GIB
from presets.models import Architecture
from presets.spec import RunSpec

#: The trainer's environment: torch with CUDA is most of it.
_ENVIRONMENT_BYTES = 9 * GIB
_CPU_ENVIRONMENT_BYTES = 6 * GIB
#: A guess for a run that keeps all of its checkpoints.
_UNLIMITED_CHECKPOINTS = 10


def environment_bytes(spec: RunSpec) -> int:
    """Return the disk that the trainer's environment takes, once for all runs."""
    return _CPU_ENVIRONMENT_BYTES if spec.tiny_model is not None else _ENVIRONMENT_BYTES


def disk_parts(
    spec: RunSpec, arch: Architecture, trained: int, steps: int | None = None
) -> tuple[tuple[str, int], ...]:
    """Return bytes by use; ``steps`` of the whole run, None where the data is not known yet.

    One checkpoint more than are kept is written, because the oldest is deleted last.
    """
    count = (spec.save_limit or _UNLIMITED_CHECKPOINTS) + 1
    if steps is not None:
        # The end is saved too, wherever it falls.
        saves = math.ceil(steps / spec.save_steps)
        count = saves if spec.save_limit is None else min(count, saves)
    final = 4 * trained if spec.method in ("lora", "qlora") else 2 * arch.parameters
    sizes = {
        "environment": environment_bytes(spec),
        "model": 0 if spec.tiny_model is not None else 2 * arch.parameters,
        f"checkpoints ({count})": count * checkpoint_bytes(spec, arch, trained),
        "final weights": final,
    }
    return tuple((name, int(size)) for name, size in sizes.items() if size)


def checkpoint_bytes(spec: RunSpec, arch: Architecture, trained: int) -> int:
    """Return the bytes of one checkpoint: weights, and optimizer states unless only the model is saved.

    Counted on checkpoints of the pinned trainer: ZeRO-2 writes 16 bytes a parameter, ZeRO-3 14, LoRA 4 + 8.
    """
    adapter = spec.method in ("lora", "qlora")
    weights = 4 * trained if adapter else (4 if spec.precision == "fp32" else 2) * arch.parameters
    if spec.save_only_model:
        return weights
    module_states = 2 * trained if spec.zero_stage in (1, 2) else 0
    return weights + module_states + 12 * trained
