"""What the processes inside a trainer's environment tell the run's directory and its log."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remote_agent.documents import write_json

RUN_DIR_VARIABLE = "FINETUI_RUN_DIR"


def run_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the run directory that the supervisor named; without one, the working directory."""
    return Path(environ.get(RUN_DIR_VARIABLE) or ".").absolute()


def finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``record`` with NaN and infinities as None and their keys listed under ``nonfinite``."""
    lost = [key for key, value in record.items() if isinstance(value, float) and not math.isfinite(value)]
    clean = {key: None if key in lost else value for key, value in record.items()}
    if lost:
        clean["nonfinite"] = lost
    return clean


class PhaseReport:
    """Tells people what the trainer is busy with, through ``phase.json``; only rank 0 writes."""

    def __init__(self, run_dir: Path, *, active: bool = True) -> None:
        self._path = run_dir / "phase.json"
        self._active = active

    def __call__(self, phase: str, detail: str = "") -> None:
        """Replace the phase; a disk that refuses is not worth stopping a training for."""
        if not self._active:
            return
        document = {"phase": phase, "detail": detail, "done": None, "total": None, "started": time.time()}
        try:
            write_json(self._path, document)
        except OSError as error:
            say(f"{self._path.name} could not be written: {error}")


def say(sentence: str) -> None:
    """Put one line of ours into the run's log."""
    os.write(2, f"finetui: {sentence}\n".encode())
