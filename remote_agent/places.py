"""Where the agent keeps things: state on the volume, locks and sockets on a local file system."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from remote_agent.errors import AgentError
from remote_agent.protocol import REFUSED

#: The volume of a rented pod; what lies elsewhere is gone when the pod is.
VOLUME = Path("/workspace")


@dataclass(frozen=True)
class Places:
    """The directories of one agent; build it with ``from_environment`` and pass it on."""

    state: Path
    runtime: Path
    environments: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, volume: Path = VOLUME) -> Places:
        """Read ``FINETUI_STATE_DIR``, ``FINETUI_ENVIRONMENTS_DIR``, ``FINETUI_RUNTIME_DIR``; create nothing.

        The runtime directory is never ``$XDG_RUNTIME_DIR``: systemd empties that at the last logout, while a
        run and the lock that proves it alive must outlive the connection.
        """
        state = _state_directory(environment, volume)
        environments = environment.get("FINETUI_ENVIRONMENTS_DIR")
        runtime = environment.get("FINETUI_RUNTIME_DIR")
        return cls(
            state=state,
            runtime=Path(runtime).absolute() if runtime else Path(f"/tmp/finetui-{os.getuid()}"),
            environments=Path(environments).absolute() if environments else state / "environments",
        )

    def create(self) -> None:
        """Create the state and runtime directories; raises AgentError when one can't be made or trusted."""
        try:
            for directory in (self.state, self.runs, self.blobs):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise AgentError(
                REFUSED,
                f"the state directory {self.state} can't be written: {error.strerror}",
                remedy="set FINETUI_STATE_DIR on the machine to a directory that can be written",
            ) from error
        _private_directory(self.runtime)

    def as_environment(self) -> dict[str, str]:
        """Return the variables from which another role builds the same places."""
        return {
            "FINETUI_STATE_DIR": str(self.state),
            "FINETUI_ENVIRONMENTS_DIR": str(self.environments),
            "FINETUI_RUNTIME_DIR": str(self.runtime),
        }

    @property
    def key(self) -> str:
        """Twelve hex digits that name the state directory among the files in ``runtime``."""
        return hashlib.sha256(os.fsencode(os.path.realpath(self.state))).hexdigest()[:12]

    @property
    def runs(self) -> Path:
        """One directory a run."""
        return self.state / "runs"

    @property
    def blobs(self) -> Path:
        """Uploaded files, each named by its SHA-256."""
        return self.state / "blobs"

    @property
    def trash(self) -> Path:
        """Runs that are being deleted."""
        return self.state / ".trash"

    @property
    def socket(self) -> Path:
        """agentd's unix socket; a path of at most 107 bytes unless the runtime directory itself is longer."""
        return self.runtime / f"{self.key}.sock"

    @property
    def agentd_lock(self) -> Path:
        """Held for the moment in which agentd is started, or leaves."""
        return self.runtime / f"{self.key}.agentd.lock"

    @property
    def agentd_log(self) -> Path:
        """What agentd says; its starter points 1 and 2 here."""
        return self.state / "agentd.log"

    @property
    def guard_config(self) -> Path:
        """What the guard watches for; absent while none is armed."""
        return self.state / "guard.json"

    @property
    def guard_status(self) -> Path:
        """What the guard sees and plans; written by its process alone."""
        return self.state / "guard-status.json"

    @property
    def guard_log(self) -> Path:
        """Everything the guard did, and why; one JSON object a line."""
        return self.state / "guard.jsonl"

    @property
    def guard_lock(self) -> Path:
        """Held by the guard's process for life."""
        return self.runtime / f"{self.key}.guard.lock"

    @property
    def attached(self) -> Path:
        """Written every few seconds by agentd while a client is connected."""
        return self.runtime / f"{self.key}.attached"

    def run_lock(self, run: str) -> Path:
        """Held by the run's supervisor for life: "is it supervised" is "can I take this lock"."""
        return self.runtime / f"{self.key}.{run}.run.lock"

    def change_lock(self, run: str) -> Path:
        """Held for the moment in which a run is launched, resumed or deleted."""
        return self.runtime / f"{self.key}.{run}.change.lock"


def _state_directory(environment: Mapping[str, str], volume: Path) -> Path:
    chosen = environment.get("FINETUI_STATE_DIR")
    if chosen:
        return Path(chosen).absolute()
    if volume.is_dir() and os.access(volume, os.W_OK):
        return volume / ".finetui"
    home = environment.get("HOME") or str(Path("~").expanduser())
    return Path(home) / ".local" / "state" / "finetui"


def _private_directory(path: Path) -> None:
    """Make ``path`` a directory of ours, mode 0700, or refuse: /tmp belongs to everybody."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise AgentError(REFUSED, f"the runtime directory {path} can't be made: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise AgentError(
            REFUSED,
            f"the runtime directory {path} is not a directory of this user with mode 0700",
            remedy=f"look at what it is, remove it, and connect again: ls -ld {path}",
        )
