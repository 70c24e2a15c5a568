"""Put the uploaded files of a run where its steps expect them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from remote_agent.errors import AgentError
from remote_agent.places import Places
from remote_agent.protocol import INVALID_PARAMS, NOT_FOUND

_SHA256 = re.compile(r"[0-9a-f]{64}")


def place_files(places: Places, folder: Path, files: Mapping[str, str]) -> None:
    """Copy blobs into a fresh ``folder``; copied and not linked, so that no job can change a blob.

    Raises AgentError for a path that leaves the folder, a malformed hash or a blob that was not uploaded.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    for name, sha256 in files.items():
        target = folder / _inside(name)
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise AgentError(INVALID_PARAMS, f"the file {name!r} has no SHA-256")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(places.blobs / sha256, target)
        except FileNotFoundError as error:
            raise AgentError(
                NOT_FOUND, f"the file {name!r} was not uploaded", remedy="upload it again, then launch"
            ) from error


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if not name or "\0" in name or path.is_absolute() or ".." in path.parts or not path.parts:
        raise AgentError(INVALID_PARAMS, f"{name!r} is not a path inside the run")
    return path
