"""What training has saved, and whether it is whole: the trainer writes weights first and its state last."""

from __future__ import annotations

import os
import re
from pathlib import Path

from remote_agent.documents import read_json
from remote_agent.job_spec import parse
from remote_agent.metrics_tail import losses_by_step
from remote_agent.places import Places
from remote_agent.protocol import Checkpoint
from remote_agent.runs import RunDirectory, existing_run

_FOLDER = re.compile(r"checkpoint-(\d+)")
_WEIGHTS = ("model*.safetensors", "adapter_model.safetensors", "pytorch_model*.bin", "adapter_model.bin")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin", "optimizer_0")


def folders(output: Path) -> list[tuple[int, Path]]:
    """Return (step, path) of every checkpoint folder, by step."""
    try:
        entries = list(output.iterdir())
    except FileNotFoundError:
        return []
    found = [(_FOLDER.fullmatch(path.name), path) for path in entries]
    return sorted((int(match.group(1)), path) for match, path in found if match and path.is_dir())


def list_checkpoints(places: Places, run: str) -> list[Checkpoint]:
    """Return the run's checkpoints by step; raises AgentError (NOT_FOUND) when there is no such run."""
    directory = existing_run(places, run)
    return in_run(directory, parse(read_json(directory.spec)).ranks)


def in_run(directory: RunDirectory, ranks: int) -> list[Checkpoint]:
    """Return the checkpoints of a run that trains on ``ranks`` ranks, by step."""
    losses = losses_by_step(directory.metrics)
    return [_describe(directory.run, step, path, ranks, losses) for step, path in folders(directory.output)]


def _describe(run: str, step: int, path: Path, ranks: int, losses: dict[int, dict[str, float]]) -> Checkpoint:
    missing = what_is_missing(path, ranks)
    at = losses.get(step, {})
    return Checkpoint(
        id=f"{run}@{step}",
        step=step,
        bytes=_bytes(path),
        complete=not missing,
        path=str(path),
        modified=path.stat().st_mtime,
        resumable=not missing and _has_optimizer(path),
        missing=missing,
        loss=at.get("loss"),
        eval_loss=at.get("eval_loss"),
    )


def what_is_missing(path: Path, ranks: int) -> str:
    """Return what keeps a checkpoint from being complete, "" for nothing.

    transformers writes weights, optimizer, scheduler and rng state, then trainer_state.json; DeepSpeed names
    its folder in ``latest`` and has one optimizer file a rank there.
    """
    return missing_of_weights(path) or _missing_of_deepspeed(path, ranks)


def missing_of_weights(path: Path) -> str:
    """Return what keeps a checkpoint's weights from being whole, "" for nothing."""
    if (path / "checkpoint-is-incomplete.txt").exists():
        return "saving was interrupted"
    if not any(any(path.glob(pattern)) for pattern in _WEIGHTS):
        return "no weights"
    for name in _INDEXES:
        absent = _absent_shards(path, path / name)
        if absent:
            return f"no {absent}"
    if read_json(path / "trainer_state.json") is None:
        return "no trainer_state.json, which is written last"
    return ""


def _absent_shards(path: Path, index: Path) -> str:
    if not index.exists():
        return ""
    weights = (read_json(index) or {}).get("weight_map")
    if not isinstance(weights, dict):
        return "readable index of the weights"
    return next((shard for shard in sorted(set(weights.values())) if not (path / shard).exists()), "")


def _missing_of_deepspeed(path: Path, ranks: int) -> str:
    steps = list(path.glob("global_step*"))
    latest = path / "latest"
    if not steps and not latest.exists():
        return ""
    try:
        name = latest.read_text().strip()
    except OSError:
        return "no file latest, which DeepSpeed writes last"
    have = len(list((path / name).glob("*optim_states.pt"))) if name else 0
    return "" if have >= ranks else f"optimizer state of {have} of {ranks} ranks"


def _has_optimizer(path: Path) -> bool:
    return (path / "latest").exists() or any((path / name).exists() for name in _OPTIMIZERS)


def _bytes(path: Path) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
            except FileNotFoundError:
                # Rotation removes old checkpoints while we look.
                continue
    return total
