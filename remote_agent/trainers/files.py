"""How a process inside a trainer's environment writes into its run directory.

The readers (supervisor, agentd) may look at any moment, so documents appear whole or not at all and metrics
grow by whole lines. Standard library only: these functions run before torch is imported.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RUN_DIR_VARIABLE = "FINETUI_RUN_DIR"


def run_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the run directory that the supervisor named; without one, the working directory."""
    return Path(environ.get(RUN_DIR_VARIABLE) or ".").absolute()


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Replace ``path`` by ``document`` so that a reader sees the old or the new one; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(document, file, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``, or None when there is none to be read."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def append_json_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append ``record`` as one line with one write; raises OSError.

    A line that an earlier crash or a full disk cut short is ended first, so that it can't swallow this one.
    """
    line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        written = os.write(descriptor, line)
    finally:
        os.close(descriptor)
    if written != len(line):
        raise OSError(f"{path.name}: only {written} of {len(line)} bytes could be written")


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

    def __call__(
        self, phase: str, detail: str = "", done: float | None = None, total: float | None = None
    ) -> None:
        """Replace the phase; a disk that refuses is not worth stopping a training for."""
        if not self._active:
            return
        document = {"phase": phase, "detail": detail, "done": done, "total": total, "started": time.time()}
        try:
            write_json(self._path, document)
        except OSError as error:
            say(f"{self._path.name} could not be written: {error}")


def say(sentence: str) -> None:
    """Put one line of ours into the run's log."""
    os.write(2, f"finetui: {sentence}\n".encode())
