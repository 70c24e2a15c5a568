"""What a step's processes are told: placeholders in its argv, and the variables of its environment."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from remote_agent import machine
from remote_agent.job_spec import Step
from remote_agent.places import Places
from remote_agent.program import PACKAGE_ROOT
from remote_agent.runs import RunDirectory

_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL")
_LEFT_OUT_PREFIXES = ("RUNPOD_", "SSH_", "FINETUI_")
#: PYTHONDONTWRITEBYTECODE, which images like to set, more than doubles the time of a trainer's imports.
_LEFT_OUT = frozenset({"VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"})
#: Names that only look like a secret's.
_HARMLESS = frozenset({"TOKENIZERS_PARALLELISM"})
#: What such cards need in the environment of a job.
NO_PEER_TO_PEER = ("NCCL_P2P_DISABLE", "NCCL_IB_DISABLE")
_NO_PEER_TO_PEER_CARD = re.compile(r"GeForce RTX (3090|40\d0)")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Interpreter:
    """The Python that runs the steps, and the folder of its launchers."""

    python: str
    bin: str


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that may pass to a job: none that looks like a secret or like the laptop's own."""
    return {name: value for name, value in environment.items() if not _private(name)}


def _private(name: str) -> bool:
    upper = name.upper()
    if upper in _HARMLESS:
        return False
    return (
        upper in _LEFT_OUT
        or upper.startswith(_LEFT_OUT_PREFIXES)
        or any(word in upper for word in _SECRET_WORDS)
    )


def placeholders(
    places: Places, directory: RunDirectory, interpreter: Interpreter, ranks: int, checkpoint: str
) -> dict[str, str]:
    """Return the value of each placeholder for one step; ``{port}`` is free at this moment."""
    values = {
        "python": interpreter.python,
        "bin": interpreter.bin,
        "prepared": str(directory.prepared),
        "output": str(directory.output),
        "run": str(directory.path),
        "runs": str(places.runs),
        "port": str(free_port()),
        "threads": str(max(1, usable_cores() // ranks)),
        "accelerators_flag": "--num_gpus" if has_gpu() else "--num_accelerators",
    }
    if checkpoint:
        values["checkpoint"] = checkpoint
    return values


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace known placeholders; other braces (JSON, shell) stay as they are."""
    return _PLACEHOLDER.sub(lambda found: values.get(found.group(1), found.group(0)), text)


def step_environment(
    base: Mapping[str, str],
    step: Step,
    values: Mapping[str, str],
    own: Mapping[str, str],
    secrets: Mapping[str, str],
    *,
    cards: Sequence[str] = (),
) -> dict[str, str]:
    """Return the whole environment of a step: inherited, ours, the step's, then the secrets of the launch.

    ``cards`` names the GPUs here that can't reach each other.
    """
    environment = inherited(base)
    environment.update(
        {
            "PATH": os.pathsep.join([values["bin"], base.get("PATH", os.defpath)]),
            "PYTHONPATH": str(PACKAGE_ROOT),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": values["threads"],
            "API_HOST": "127.0.0.1",
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "MASTER_ADDR": "127.0.0.1",
        }
    )
    if not has_gpu():
        environment["DS_ACCELERATOR"] = "cpu"
    if cards:
        environment.update(dict.fromkeys(NO_PEER_TO_PEER, "1"))
    environment.update({name: expand(value, values) for name, value in step.env.items()})
    environment.update(own)
    environment.update(secrets)
    return environment


def without_peer_to_peer(names: Iterable[str]) -> list[str]:
    """Return the cards among ``names`` on which NCCL must not try peer-to-peer or InfiniBand.

    NVIDIA switched it off in the driver of these cards; NCCL hangs, or accelerate refuses to start.
    """
    return sorted({name for name in names if _NO_PEER_TO_PEER_CARD.search(name)})


def has_gpu() -> bool:
    """Say whether an NVIDIA GPU is visible here."""
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


def usable_cores() -> int:
    """Return the cores that this process may use, the container's limit included, at least 1."""
    return machine.cores()


def free_port() -> int:
    """Return a TCP port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
