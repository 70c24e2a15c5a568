"""Trains with Axolotl: ``-m remote_agent.trainers.axolotl axolotl.yaml key=value...``, in every rank.

The metrics come from the same callback as with LLaMA-Factory, which Axolotl gets through the callbacks that
every trainer of transformers starts from. What the YAML asks for and this machine can't do is changed with
one line in the log for each change.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remote_agent.job_environment import has_gpu
from remote_agent.trainers.callback import RunCallback
from remote_agent.trainers.extensions import ExtensionsFolder, own_extensions
from remote_agent.trainers.files import PhaseReport, run_directory, say

#: Written in Triton, which needs a GPU; Axolotl turns them on by itself for LoRA.
_TRITON_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")


def read_overrides(arguments: list[str]) -> dict[str, Any]:
    """Return ``key=value`` items, the values as YAML; raises ValueError for one without a key."""
    import yaml

    overrides = {}
    for item in arguments:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise ValueError(f"{item} is not key=value")
        overrides[key] = yaml.safe_load(text)
    return overrides


def adapt_to_cpu(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the overrides for a machine without CUDA, and a sentence for each change."""
    overrides: dict[str, Any] = dict.fromkeys(_TRITON_KERNELS, False)
    changes = []
    for key in ("bf16", "fp16", "tf32"):
        if settings.get(key):
            changes.append(f"no CUDA device here: {key} false, weights and arithmetic in 32 bits")
        overrides[key] = False
    if "8bit" in str(settings.get("optimizer", "")):
        changes.append("no CUDA device here: optimizer adamw_torch in place of an 8-bit one")
        overrides["optimizer"] = "adamw_torch"
    if settings.get("attn_implementation") not in (None, "eager", "sdpa") or settings.get("flash_attention"):
        changes.append("no CUDA device here: attn_implementation sdpa")
        overrides |= {"attn_implementation": "sdpa", "flash_attention": None}
    return overrides, changes


def _peak_vram() -> int | None:
    """Bytes that torch has reserved at most on this rank's GPU."""
    import torch

    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else None


def hook_callback(run_dir: Path, rank: int, ranks: int, extensions: ExtensionsFolder | None) -> None:
    """Put our callback among those that every trainer of transformers is made with."""
    from transformers import TrainerCallback, trainer

    class Callback(RunCallback, TrainerCallback):  # type: ignore[misc, unused-ignore]
        """RunCallback as transformers wants it: a class that takes no arguments."""

        def __init__(self) -> None:
            super().__init__(run_dir, rank, ranks, peak_vram=_peak_vram)

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if extensions is not None:
                extensions.loaded()
            super().on_train_begin(args, state, control, **kwargs)

    trainer.DEFAULT_CALLBACKS.append(Callback)


def main(argv: list[str]) -> int:
    """Train; returns the exit code. What goes wrong is raised: its traceback belongs in the run's log."""
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    run_dir = run_directory()
    report = PhaseReport(run_dir, active=rank == 0)
    report("loading", "Axolotl")
    # Axolotl reports every run to its makers unless it is told not to, before it is imported.
    os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"
    overrides = read_overrides(argv[1:])
    extensions = own_extensions()
    if not has_gpu():
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    import torch
    import yaml

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        asked = yaml.safe_load(Path(argv[0]).read_text(encoding="utf-8"))
        if asked.get("deepspeed"):
            # Axolotl starts a single rank with NCCL, which is for GPUs, unless there is a group already.
            torch.distributed.init_process_group("gloo")
        adapted, changes = adapt_to_cpu(asked)
        overrides |= adapted
        if rank == 0:
            for change in changes:
                say(change)

    from axolotl.cli.args import TrainerCliArgs
    from axolotl.cli.config import load_cfg
    from axolotl.common.datasets import load_datasets
    from axolotl.train import train
    from axolotl.utils import trainer as preparation

    if not torch.cuda.is_available():
        # With several ranks it asks CUDA whether the cards reach each other, also where there are none.
        preparation.check_cuda_p2p_ib_support = lambda: True
    hook_callback(run_dir, rank, ranks, extensions)
    settings = load_cfg(argv[0], **overrides)
    if not torch.cuda.is_available():
        # It gives each of several ranks the card of its number.
        settings.device_map = {"": "cpu"}
    report("tokenising", "the dataset")
    datasets = load_datasets(cfg=settings, cli_args=TrainerCliArgs())
    report("loading", "the model")
    train(cfg=settings, dataset_meta=datasets)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
