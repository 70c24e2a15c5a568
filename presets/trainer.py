"""The trainers behind one interface: what each reads, and how a person would start it by hand."""

from __future__ import annotations

from typing import Any

from presets import axolotl, llamafactory
from presets.spec import RunSpec


def train_file(spec: RunSpec) -> str:
    """Return the name of the file with the trainer's settings."""
    return f"{spec.trainer}.yaml"


def train_settings(spec: RunSpec) -> dict[str, Any]:
    """Return the keys of that file; raises InvalidInput for what this trainer does not do."""
    if spec.trainer == "axolotl":
        return axolotl.train_settings(spec)
    return llamafactory.train_arguments(spec)


def entry(spec: RunSpec) -> str:
    """Return the module of ours that runs in the trainer's environment."""
    return f"remote_agent.trainers.{spec.trainer}"


def entry_by_hand(spec: RunSpec) -> str:
    """Return the trainer's own module, which a person would start."""
    return "axolotl.cli.train" if spec.trainer == "axolotl" else "llamafactory.launcher"
