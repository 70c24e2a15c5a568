"""Makes room in an ended run: whole checkpoints go, or their optimizer states while the weights stay."""

from __future__ import annotations

import secrets as randomness
import shutil
from pathlib import Path

from remote_agent import checkpoints
from remote_agent.documents import read_json, sync_directory
from remote_agent.errors import AgentError, from_os_error
from remote_agent.identity import Proc
from remote_agent.job_spec import parse
from remote_agent.lifecycle import disk_bytes
from remote_agent.places import Places
from remote_agent.protocol import CONFLICT, ENDED, NOT_FOUND, REFUSED
from remote_agent.runs import RunDirectory, changing, existing_run
from remote_agent.status import run_status

#: What only a resume reads. ``latest`` first: without it a checkpoint does not count as resumable any more.
_OF_A_RESUME = (
    "latest",
    "global_step*",
    "optimizer.pt",
    "optimizer.bin",
    "optimizer_*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "zero_to_fp32.py",
    "zero_to_torch.py",
)


def drop_optimizers(places: Places, run: str, steps: list[int], *, proc: Proc = Proc()) -> int:  # noqa: B008
    """Remove the optimizer states of the checkpoints at ``steps`` and return the bytes that were freed.

    One that has none is left as it is. Raises AgentError when the run has not ended, for a step without a
    checkpoint that has whole weights, and for the newest resumable one; nothing is removed then.
    """
    directory = existing_run(places, run)
    with changing(places, run):
        if run_status(places, directory, proc).state not in ENDED:
            raise AgentError(
                CONFLICT, f"the run {run} has not ended", remedy=f"stop it first: finetui stop {run}"
            )
        chosen = _choose(directory, steps)
        try:
            return sum(_drop(path) for path in chosen)
        except OSError as error:
            raise from_os_error(error, f"remove optimizer states of {run}") from error


def delete_checkpoints(places: Places, run: str, steps: list[int], *, proc: Proc = Proc()) -> int:  # noqa: B008
    """Remove the checkpoints at ``steps`` and return the bytes that were freed; one that is gone is none.

    Raises AgentError when the run has not ended.
    """
    directory = existing_run(places, run)
    with changing(places, run):
        if run_status(places, directory, proc).state not in ENDED:
            raise AgentError(
                CONFLICT, f"the run {run} has not ended", remedy=f"stop it first: finetui stop {run}"
            )
        folders = dict(checkpoints.folders(directory.output))
        try:
            return sum(_bury(places, run, folders[step]) for step in dict.fromkeys(steps) if step in folders)
        except OSError as error:
            raise from_os_error(error, f"delete a checkpoint of {run}") from error


def _bury(places: Places, run: str, checkpoint: Path) -> int:
    """Out of the run at once, so that half a checkpoint is never seen there."""
    places.trash.mkdir(exist_ok=True)
    grave = places.trash / f"{run}-{checkpoint.name}-{randomness.token_hex(4)}"
    freed = disk_bytes(checkpoint)
    checkpoint.rename(grave)
    sync_directory(checkpoint.parent)
    shutil.rmtree(grave, ignore_errors=True)
    return freed


def _choose(directory: RunDirectory, steps: list[int]) -> list[Path]:
    folders = dict(checkpoints.folders(directory.output))
    for step in steps:
        if step not in folders:
            there = ", ".join(map(str, folders)) or "none"
            raise AgentError(
                NOT_FOUND,
                f"the run {directory.run} has no checkpoint at step {step}",
                remedy=f"there are: {there}",
            )
        missing = checkpoints.missing_of_weights(folders[step])
        if missing:
            raise AgentError(
                REFUSED,
                f"the weights of {directory.run}@{step} are not whole ({missing}): nothing is taken from it",
            )
    ranks = parse(read_json(directory.spec)).ranks
    resumable = [item.step for item in checkpoints.in_run(directory, ranks) if item.resumable]
    if resumable and resumable[-1] in steps:
        raise AgentError(
            REFUSED,
            f"{directory.run}@{resumable[-1]} is the newest checkpoint that can be resumed: it is kept whole",
            remedy="name older ones",
        )
    return [folders[step] for step in dict.fromkeys(steps)]


def _drop(checkpoint: Path) -> int:
    freed = 0
    for pattern in _OF_A_RESUME:
        for path in checkpoint.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                freed += disk_bytes(path)
                shutil.rmtree(path)
            else:
                found = path.lstat()
                freed += found.st_blocks * 512 if found.st_nlink == 1 else 0
                path.unlink()
    sync_directory(checkpoint)
    return freed
