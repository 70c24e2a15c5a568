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
from remote_agent.errors import AgentError
from remote_agent.hashes import Hashes
from remote_agent.job_spec import parse
from remote_agent.metrics_tail import newest_first
from remote_agent.places import Places
from remote_agent.runs import RunDirectory, existing_run

_WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")


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
    lacking = [[path for path in files if path not in held] for files in results_of(directory)]
    fewest = min((len(paths) for paths in lacking), default=0)
    missing = next((tuple(paths) for paths in lacking if len(paths) == fewest), ())
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


def results_of(directory: RunDirectory) -> list[list[str]]:
    """Return the sets of files of which one is enough, as paths below the run; [] when nothing was made.

    The final model, or the checkpoint of the last step, which is the same with what a resume needs; where
    there is no final model, the newest complete checkpoint. Raises AgentError for a spec that can't be read.
    """
    final = [path for path in _files(directory.output, deep=False) if path.suffix in _WEIGHTS]
    spec = parse(read_json(directory.spec))
    whole = [found for found in checkpoints.in_run(directory, spec.ranks) if found.complete]
    newest = max(whole, key=lambda found: found.step, default=None)
    enough = []
    if final:
        enough.append(_below(directory, _files(directory.output, deep=False)))
    if newest is not None and (not final or newest.step == _last_step(directory)):
        enough.append(_below(directory, _files(Path(newest.path), deep=True)))
    return enough


def is_safe(directory: RunDirectory) -> bool:
    """Say whether nothing would be lost with the run: marked in this attempt, or nothing was made."""
    marker = read_json(directory.safe)
    if marker is not None and marker.get("attempt") == _attempt(directory):
        return True
    kind = (read_json(directory.spec) or {}).get("kind", "train")
    try:
        return kind == "serve" or not results_of(directory)
    except AgentError:
        return False


def _attempt(directory: RunDirectory) -> int:
    return int((read_json(directory.proc) or {}).get("attempt") or 1)


def _last_step(directory: RunDirectory) -> object:
    return next((record["step"] for record in newest_first(directory.metrics) if "step" in record), None)


def _files(folder: Path, *, deep: bool) -> list[Path]:
    try:
        return [path for path in (folder.rglob("*") if deep else folder.iterdir()) if path.is_file()]
    except OSError:
        return []


def _below(directory: RunDirectory, paths: list[Path]) -> list[str]:
    return sorted(path.relative_to(directory.path).as_posix() for path in paths)
