"""Opens a subscription: one stream object for each of the four kinds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from remote_agent import status
from remote_agent.errors import AgentError
from remote_agent.feeds import NewestStream
from remote_agent.places import Places
from remote_agent.protocol import CREDIT_BYTES, ENDED, INVALID_PARAMS, REFUSED
from remote_agent.readahead import ReadAhead
from remote_agent.runs import RunDirectory, existing_run
from remote_agent.streams import FileStream

if TYPE_CHECKING:
    from remote_agent.connection import Connection

MAX_STREAMS = 64
#: A run without exit.json may have been lost; deriving that costs more than a stat, so seldom.
LOST_CHECK_S = 2.0


async def open_stream(connection: Connection, params: dict[str, Any]) -> int:
    """Open a subscription on ``connection`` and return its id; raises AgentError."""
    kind = params["kind"]
    directory = None
    if kind in ("log", "metrics"):
        directory = await asyncio.to_thread(existing_run, connection.agent.places, params["run"])
    if len(connection.streams) >= MAX_STREAMS:
        raise AgentError(REFUSED, f"{MAX_STREAMS} subscriptions are open", remedy="close one with sub.close")
    if directory is not None:
        return _open_file(connection, directory, params)
    if kind == "runs":
        return _open_runs(connection)
    if kind == "samples":
        return _open_samples(connection, params["every_s"])
    raise AgentError(INVALID_PARAMS, f"kind: {kind[:80]!r} is none of log, metrics, runs, samples")


def _open_file(connection: Connection, directory: RunDirectory, params: dict[str, Any]) -> int:
    if params["o"] < 0:
        raise AgentError(INVALID_PARAMS, "o: negative")
    file = FileStream(
        connection.next_sub(),
        directory.log if params["kind"] == "log" else directory.metrics,
        offset=params["o"],
        gen=params["gen"],
        credit=params["credit"] or CREDIT_BYTES,
        ended=_EndCheck(connection.agent.places, directory, time.monotonic),
        clock=time.monotonic,
    )
    stream = ReadAhead(file, threads=connection.agent.threads, wake=connection.wake, clock=time.monotonic)
    connection.add(stream)
    return stream.sub


def _open_runs(connection: Connection) -> int:
    watch = connection.agent.watch

    def offer(news: dict[str, Any]) -> None:
        stream.offer(news)
        connection.wake()

    stream = NewestStream(connection.next_sub(), "runs", lambda _: watch.remove(offer))
    connection.add(stream)
    watch.add(offer)
    return stream.sub


def _open_samples(connection: Connection, every_s: float) -> int:
    feed = connection.agent.samples

    def offer(sample: dict[str, Any]) -> None:
        stream.offer({"sample": sample})
        connection.wake()

    stream = NewestStream(connection.next_sub(), "sample", lambda _: feed.remove(offer))
    connection.add(stream)
    feed.add(offer, every_s)
    return stream.sub


class _EndCheck:
    """Says whether a run has ended: exit.json at once, a lost or deleted run within seconds."""

    def __init__(self, places: Places, directory: RunDirectory, clock: Callable[[], float]) -> None:
        self._places = places
        self._directory = directory
        self._clock = clock
        self._next_check = clock()

    def __call__(self) -> bool:
        if self._directory.exit.exists():
            return True
        if self._clock() < self._next_check:
            return False
        self._next_check = self._clock() + LOST_CHECK_S
        try:
            return status.status(self._places, self._directory.run).state in ENDED
        except AgentError:
            return not self._directory.path.exists()
