"""Keeps a killed run from blocking the next one while DeepSpeed compiles its C++ extensions.

torch guards each extension's folder by a plain file ``lock`` and waits for ever while it is there; a process
that is killed in between leaves it. So each environment has a folder of its own, and each rank of ours holds
a shared flock until its extensions are loaded: who gets it exclusively knows that a ``lock`` is nobody's.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from remote_agent.trainers.files import say

VARIABLE = "TORCH_EXTENSIONS_DIR"


class ExtensionsFolder:
    """The folder of compiled extensions, in use by this process until ``loaded`` is called."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(folder / "in-use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            for stale in folder.glob("**/lock"):
                say(f"removing the lock that a killed run left: {stale}")
                stale.unlink(missing_ok=True)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def loaded(self) -> None:
        """Let go: nothing will be compiled any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def own_extensions() -> ExtensionsFolder | None:
    """Use the environment's own folder; None where the user chose one, or where it can't be written."""
    if os.environ.get(VARIABLE):
        return None
    folder = Path(sys.prefix) / "torch-extensions"
    try:
        extensions = ExtensionsFolder(folder)
    except OSError as error:
        say(f"{folder} can't be used, torch keeps its own folder of extensions: {error.strerror}")
        return None
    os.environ[VARIABLE] = str(folder)
    return extensions
