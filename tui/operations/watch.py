"""The copies of one run's log and metrics on this laptop, fed from where they were."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui.errors import RemoteError
from tui.operations.metrics import RecordReader
from tui.paths import private_dir
from tui.remote.agent_client import AgentClient, Subscription
from tui.remote.streams import StreamData, StreamEnd, StreamEvent, StreamReset
from tui.state.history import History
from tui.state.spool import LogSpool


@dataclass(frozen=True)
class LogGrew:
    """A run's log has ``size`` bytes here; ``ended`` when that is all there will be."""

    target: str
    run: str
    size: int
    ended: bool = False


@dataclass(frozen=True)
class MetricsArrived:
    """New whole records of a run's metrics; ``data`` are the same as bytes, from ``offset`` of the file.

    At offset 0 everything known before is void. ``ended`` when no more will come.
    """

    target: str
    run: str
    records: tuple[dict[str, Any], ...]
    offset: int
    data: bytes
    ended: bool = False


class RunWatch:
    """One run being followed; streams feed it from the connection's reader thread."""

    def __init__(
        self, target: str, run: str, history: History, on_event: Callable[[LogGrew | MetricsArrived], None]
    ) -> None:
        self._target = target
        self._run = run
        self._on_event = on_event
        folder = private_dir(history.folder(run))
        self.log = LogSpool(history.log_path(run))
        self._metrics = LogSpool(history.metrics_path(run))
        self._generations = {kind: _Generation(folder / f"{kind}.generation") for kind in ("log", "metrics")}
        self._records = RecordReader()
        self._announced = 0
        self._subscriptions: list[Subscription] = []

    def announce(self) -> None:
        """Tell what the copies hold that was not told yet."""
        if self.log.size:
            self._on_event(LogGrew(self._target, self._run, self.log.size))
        self._announce_metrics()

    def open(self, client: AgentClient) -> None:
        """Subscribe from where the copies end; raises Unreachable.

        A run that the target does not have (any more) is left as it is here.
        """
        self.close()
        with contextlib.suppress(RemoteError):
            self._subscribe(client)

    def _subscribe(self, client: AgentClient) -> None:
        spools = {"log": self.log, "metrics": self._metrics}
        takers = {"log": self._take_log, "metrics": self._take_metrics}
        for kind, spool in spools.items():
            generation = self._generations[kind].text
            self._subscriptions.append(
                client.subscribe(kind, takers[kind], run=self._run, offset=spool.size, generation=generation)
            )

    def close(self) -> None:
        """End the subscriptions; the copies stay."""
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()

    def _take_log(self, event: StreamEvent) -> None:
        self._store("log", self.log, event)
        self._on_event(LogGrew(self._target, self._run, self.log.size, isinstance(event, StreamEnd)))

    def _take_metrics(self, event: StreamEvent) -> None:
        self._store("metrics", self._metrics, event)
        if isinstance(event, StreamReset):
            self._announced = 0
            self._records = RecordReader()
        self._announce_metrics(ended=isinstance(event, StreamEnd))

    def _store(self, kind: str, spool: LogSpool, event: StreamEvent) -> None:
        if isinstance(event, StreamReset):
            spool.reset()
            self._generations[kind].set(event.generation)
        elif isinstance(event, StreamData):
            self._generations[kind].set(event.generation)
            spool.feed(event.offset, event.data)

    def _announce_metrics(self, *, ended: bool = False) -> None:
        offset = self._announced
        data = _read(self._metrics.path, offset, self._metrics.size)
        if not data and not ended:
            return
        self._announced += len(data)
        records = tuple(self._records.feed(data))
        self._on_event(MetricsArrived(self._target, self._run, records, offset, data, ended))


class _Generation:
    """Which file the copy is of, kept beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.text = path.read_text() if path.exists() else ""

    def set(self, text: str) -> None:
        if text != self.text:
            self._path.write_text(text)
            self.text = text


def _read(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        return os.pread(file.fileno(), end - start, start)
