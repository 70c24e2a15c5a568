"""What nobody needs any more: old uploads, old builds, runs whose deletion was cut."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from remote_agent import lifecycle, program
from remote_agent.identity import Proc
from remote_agent.places import Places

DAY_S = 86_400.0
#: A run copies its files at launch, so a blob serves only the next upload of the same content.
BLOB_AGE_S = DAY_S
#: A build that was just uploaded is about to be started.
BUILD_AGE_S = DAY_S


@dataclass(frozen=True)
class Leftovers:
    """Bytes on disk that are no run: uploads, deleted runs, builds that no process uses."""

    blobs: int
    trash: int
    builds: int


def tidy(places: Places, *, now: Callable[[], float] = time.time, proc: Proc = Proc()) -> None:  # noqa: B008
    """Remove what is old and unused; ages are by the files' own clock, so only whole days count."""
    shutil.rmtree(places.trash, ignore_errors=True)
    for path in _old(places.blobs, now() - BLOB_AGE_S):
        path.unlink(missing_ok=True)
    for path in unused_builds(places, proc):
        if _is_older(path, now() - BUILD_AGE_S):
            shutil.rmtree(path, ignore_errors=True)


def unused_builds(places: Places, proc: Proc) -> list[Path]:
    """Return the folders of builds, our own apart, that no living process was started from.

    A job imports its trainer entry from the build, so its environment counts as well as its command line.
    """
    try:
        folders = [path for path in (places.state / "agent").iterdir() if path.is_dir()]
    except OSError:
        return []
    said = b"\0".join(_said(proc, pid) for pid in proc.pids())
    own = program.PACKAGE_ROOT.parent
    return [path for path in folders if path != own and os.fsencode(path / "agent.pyz") not in said]


def leftovers(places: Places, proc: Proc) -> Leftovers:
    """Measure them."""
    return Leftovers(
        blobs=lifecycle.disk_bytes(places.blobs),
        trash=lifecycle.disk_bytes(places.trash),
        builds=sum(lifecycle.disk_bytes(path) for path in unused_builds(places, proc)),
    )


def _said(proc: Proc, pid: int) -> bytes:
    try:
        return (proc.root / str(pid) / "cmdline").read_bytes() + b"\0" + proc.environ(pid)
    except OSError:
        return b""  # it has ended


def _old(folder: Path, before: float) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if _is_older(path, before)]
    except OSError:
        return []


def _is_older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime < before
    except OSError:
        return False
