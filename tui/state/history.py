"""Every run this laptop has seen: one directory a run, readable without any connection."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote_agent.protocol import ProtocolError, RunStatus, from_wire, to_wire
from tui.errors import FinetuiError
from tui.paths import history_dir, private_dir
from tui.state.run_id import is_run_id


@dataclass(frozen=True)
class HistoryEntry:
    """What is remembered of a run; ``seen`` is when the target said so, in seconds since the epoch."""

    run: str
    target: str
    status: RunStatus
    seen: float

    def age_s(self, now: float | None = None) -> float:
        """Return how old the status is, in seconds."""
        return max(0.0, (time.time() if now is None else now) - self.seen)


class History:
    """Reads and writes ``history/RUN/{run.json, log, metrics.jsonl}``."""

    def __init__(self, root: Path | None = None, wall_clock: Callable[[], float] = time.time) -> None:
        self.root = root if root is not None else history_dir()
        self._wall_clock = wall_clock

    def remember(self, target: str, status: RunStatus) -> HistoryEntry:
        """Write the newest status of a run that lives on ``target``; raises FinetuiError on a full disk."""
        entry = HistoryEntry(status.run, target, status, self._wall_clock())
        folder = self.folder(status.run)
        private_dir(folder)
        document = {"run": entry.run, "target": target, "seen": entry.seen, "status": to_wire(status)}
        write_json(folder / "run.json", document)
        return entry

    def get(self, run: str) -> HistoryEntry | None:
        """Return what is remembered of ``run``; None when nothing is, or it can't be read."""
        if not is_run_id(run):
            return None
        try:
            document = json.loads((self.root / run / "run.json").read_text(encoding="utf-8"))
            status = from_wire(RunStatus, document["status"])
            return HistoryEntry(run, str(document["target"]), status, float(document["seen"]))
        except (OSError, ValueError, KeyError, TypeError, ProtocolError):
            return None

    def entries(self) -> list[HistoryEntry]:
        """Return all runs, newest first."""
        return list(self._entries())

    def _entries(self) -> Iterator[HistoryEntry]:
        try:
            names = sorted((path.name for path in self.root.iterdir()), reverse=True)
        except OSError:
            return
        for name in names:
            entry = self.get(name)
            if entry is not None:
                yield entry

    def forget(self, run: str) -> None:
        """Remove what is kept of ``run``."""
        shutil.rmtree(self.folder(run), ignore_errors=True)

    def folder(self, run: str) -> Path:
        """Return the run's directory; raises ValueError when ``run`` is not a run id."""
        if not is_run_id(run):
            raise ValueError(f"not a run id: {run!r}")
        return self.root / run

    def log_path(self, run: str) -> Path:
        """Return the local copy of the run's log."""
        return self.folder(run) / "log"

    def metrics_path(self, run: str) -> Path:
        """Return the local copy of the run's metrics.jsonl."""
        return self.folder(run) / "metrics.jsonl"


def write_json(path: Path, document: Any) -> None:
    """Replace ``path`` whole or not at all, readable by this user alone; raises FinetuiError."""
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document, file)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise FinetuiError(
            f"can't write {path}",
            cause=error.strerror or str(error),
            remedy="free some space on this machine, or set FINETUI_HOME to another disk",
        ) from error
