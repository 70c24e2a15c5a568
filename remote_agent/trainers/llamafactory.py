"""Trains with LLaMA-Factory: ``-m remote_agent.trainers.llamafactory llamafactory.yaml key=value...``.

Runs in every rank, under torchrun or the deepspeed launcher. What the YAML asks for and this machine can't do
is changed with one line in the log for each change.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from remote_agent.job_environment import has_gpu
from remote_agent.trainers.callback import RunCallback
from remote_agent.trainers.extensions import ExtensionsFolder, own_extensions
from remote_agent.trainers.files import PhaseReport, run_directory, say

#: Sub-packages of llamafactory.train whose ``workflow`` loads the dataset and the model by these two names.
STAGES = ("pt", "sft", "rm", "ppo", "dpo", "kto")
LOADERS = {"get_dataset": ("tokenising", "the dataset"), "load_model": ("loading", "the model")}


def read_arguments(argv: list[str]) -> dict[str, Any]:
    """Return the YAML named first merged with the ``key=value`` overrides after it, as LLaMA-Factory does.

    Raises OSError, or ValueError when the file is not a mapping.
    """
    from omegaconf import OmegaConf

    overrides = OmegaConf.from_cli(argv[1:])
    merged = OmegaConf.to_container(OmegaConf.merge(OmegaConf.load(Path(argv[0]).absolute()), overrides))
    if not isinstance(merged, dict):
        raise ValueError(f"{argv[0]} is not a mapping of settings")
    return {str(key): value for key, value in merged.items()}


def adapt_to_cpu(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments for a machine without CUDA, and a sentence for each change; raises OSError."""
    adapted = dict(arguments)
    changes = []
    if not adapted.get("use_cpu"):
        adapted["use_cpu"] = True
        changes.append("no CUDA device here: use_cpu true")
    for key in ("bf16", "fp16", "pure_bf16"):
        if adapted.get(key):
            adapted[key] = False
            changes.append(f"no CUDA device here: {key} false, weights and arithmetic in 32 bits")
    config = deepspeed_config(adapted)
    if "train_batch_size" in config:
        # With use_cpu transformers counts one rank, and DeepSpeed then refuses the product of the batch keys.
        adapted["deepspeed"] = {key: value for key, value in config.items() if key != "train_batch_size"}
        changes.append("no CUDA device here: train_batch_size left to DeepSpeed")
    return adapted, changes


def deepspeed_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the DeepSpeed configuration that the arguments name, empty without DeepSpeed.

    Raises OSError, or ValueError when the file is not a JSON object.
    """
    named = arguments.get("deepspeed")
    if named is None:
        return {}
    config = named if isinstance(named, dict) else json.loads(Path(str(named)).read_bytes())
    if not isinstance(config, dict):
        raise ValueError(f"{named} is not a JSON object")
    return config


def zero_stage(config: Mapping[str, Any]) -> int:
    """Return the ZeRO stage of a DeepSpeed configuration, 0 without one."""
    return int(config.get("zero_optimization", {}).get("stage", 0))


def skip_matplotlib() -> None:
    """Let LLaMA-Factory find no matplotlib: a tenth of its import, and needed for a plot of the loss only."""
    from llamafactory.extras import packages

    packages.is_matplotlib_available = lambda: False


def announce_loading(modules: list[Any], report: PhaseReport) -> None:
    """Report a phase when LLaMA-Factory begins to tokenise and to load the model; it has no hook for that."""
    for module in modules:
        for name, (phase, detail) in LOADERS.items():
            function = getattr(module, name, None)
            if callable(function):
                setattr(module, name, _announced(function, report, phase, detail))


def _announced(
    function: Callable[..., Any], report: PhaseReport, phase: str, detail: str
) -> Callable[..., Any]:
    @wraps(function)
    def announced(*args: Any, **kwargs: Any) -> Any:
        report(phase, detail)
        return function(*args, **kwargs)

    return announced


def _peak_vram() -> int | None:
    """Bytes that torch has reserved at most on this rank's GPU."""
    import torch

    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else None


def _callback(run_dir: Path, rank: int, ranks: int, extensions: ExtensionsFolder | None) -> Any:
    from transformers import TrainerCallback

    class Callback(RunCallback, TrainerCallback):  # type: ignore[misc, unused-ignore]
        """RunCallback as transformers wants it: an instance of its own class."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if extensions is not None:
                extensions.loaded()
            super().on_train_begin(args, state, control, **kwargs)

    return Callback(run_dir, rank, ranks, peak_vram=_peak_vram)


def main(argv: list[str]) -> int:
    """Train; returns the exit code. What goes wrong is raised: its traceback belongs in the run's log."""
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    run_dir = run_directory()
    report = PhaseReport(run_dir, active=rank == 0)
    report("loading", "LLaMA-Factory")
    arguments = read_arguments(argv)
    extensions = own_extensions()
    if not has_gpu():
        # Threads that spin between operations take the cores from others, and from the other ranks.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        arguments, changes = adapt_to_cpu(arguments)
        if rank == 0:
            for change in changes:
                say(change)
        if zero_stage(deepspeed_config(arguments)) == 3:
            import deepspeed

            # from_pretrained shards the weights at once and would find no process group on a CPU.
            deepspeed.init_distributed()

    import importlib

    if not arguments.get("plot_loss"):
        skip_matplotlib()
    from llamafactory.train import tuner

    workflows = [importlib.import_module(f"llamafactory.train.{stage}.workflow") for stage in STAGES]
    announce_loading(workflows, report)
    tuner.run_exp(arguments, callbacks=[_callback(run_dir, rank, ranks, extensions)])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
