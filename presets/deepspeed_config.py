"""The DeepSpeed JSON of a run: one of ``presets/deepspeed/*.json``."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from presets.spec import RunSpec

#: The files' buckets (2e8 elements) suit models of billions of parameters on 48 GB cards; the tiny model's
#: gradients are a few million elements and a bucket is allocated whole.
_TINY_BUCKET_ELEMENTS = 5_000_000


def deepspeed_config(spec: RunSpec) -> dict[str, Any] | None:
    """Return the DeepSpeed configuration, None when the run is not to use DeepSpeed.

    ``train_batch_size`` is left out on purpose: with it DeepSpeed's batch assertion fails on a CPU with two
    ranks, and without it the value follows from the other two.
    """
    if spec.zero_stage is None:
        return None
    text = (resources.files("presets") / "deepspeed" / config_name(spec)).read_text(encoding="utf-8")
    config: dict[str, Any] = json.loads(text)
    zero = config["zero_optimization"]
    if spec.tiny_model is not None:
        for key in ("reduce_bucket_size", "allgather_bucket_size"):
            if isinstance(zero.get(key), int):
                zero[key] = _TINY_BUCKET_ELEMENTS
    return config


def config_name(spec: RunSpec) -> str:
    """Return the file's name for the spec's stage and offload."""
    if spec.offload_optimizer and (spec.offload_param or spec.zero_stage != 3):
        offload = "_offload"
    elif spec.offload_optimizer:
        offload = "_offload_optimizer"
    else:
        offload = "_offload_param" if spec.offload_param else ""
    return f"zero{spec.zero_stage}{offload}.json"
