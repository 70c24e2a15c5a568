"""Whether what a run made is safe elsewhere: the laptop says what it has, the hashes are compared here.

The marker safe.json holds for the attempt it was written in; a resume makes the results unsafe again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from remote_agent import checkpoints
from remote_agent.documents import read_json, write_json
from remote_agent.hashes import Hashes
from remote_agent.job_spec import parse
from remote_agent.places import Places
from remote_agent.runs import RunDirectory, existing_run

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")


@dataclass(frozen=True)
class Comparison:
    """``missing`` were not named, ``differs`` are not the same here; paths below the run directory."""

    missing: tuple[str, ...]
    differs: tuple[str, ...]

    @property
    def safe(self) -> bool:
        """Whether everything that counts is elsewhere, bit for bit."""
        return not self.missing and not self.differs


def acknowledge(places: Places, run: str, held: Mapping[str, str], hashes: Hashes) -> Comparison:
    """Compare what the laptop holds ({path below the run: SHA-256}) with what is here; mark the run if equal.

    Raises AgentError for a path that leaves the run or is not there.
    """
    directory = existing_run(places, run)
    base = directory.path.relative_to(places.state)
    differs = tuple(
        path for path, sha256 in sorted(held.items()) if hashes.of(places, str(base / path))[0] != sha256
    )
    missing = tuple(path for path in results_of(directory) if path not in held)
    found = Comparison(missing, differs)
    if found.safe:
        manifest = hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()
        document = {
            "manifest": manifest,
            "files": len(held),
            "attempt": _attempt(directory),
            "at": time.time(),
        }
        write_json(directory.safe, document)
    return found


def results_of(directory: RunDirectory) -> list[str]:
    """Return the files without which the training was in vain, as paths below the run.

    The final model where there is one, else the newest complete checkpoint.
    """
    if any(any(directory.output.glob(pattern)) for pattern in _WEIGHTS):
        return _below(directory, [path for path in directory.output.iterdir() if path.is_file()])
    spec = read_json(directory.spec)
    whole = [found for found in checkpoints.in_run(directory, parse(spec).ranks) if found.complete]
    if not whole:
        return []
    newest = Path(max(whole, key=lambda found: found.step).path)
    return _below(directory, [path for path in newest.rglob("*") if path.is_file()])


def is_safe(directory: RunDirectory) -> bool:
    """Say whether nothing would be lost with the run: marked in this attempt, or nothing was made."""
    marker = read_json(directory.safe)
    if marker is not None and marker.get("attempt") == _attempt(directory):
        return True
    kind = (read_json(directory.spec) or {}).get("kind", "train")
    return kind != "train" or not results_of(directory)


def _attempt(directory: RunDirectory) -> int:
    return int((read_json(directory.proc) or {}).get("attempt") or 1)


def _below(directory: RunDirectory, paths: list[Path]) -> list[str]:
    return sorted(path.relative_to(directory.path).as_posix() for path in paths)
