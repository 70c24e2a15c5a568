"""What a subscription delivers, parsed from the agent's notifications."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from remote_agent.protocol import Frame, ProtocolError, RunStatus, Sample, from_wire


@dataclass(frozen=True)
class StreamData:
    """Bytes of a log or of metrics; ``offset`` is that of the first one, ``generation`` the file's."""

    offset: int
    generation: str
    data: bytes


@dataclass(frozen=True)
class StreamReset:
    """The file was replaced: forget its bytes, offsets start again at 0."""

    generation: str


@dataclass(frozen=True)
class StreamEnd:
    """The run has ended and every byte was sent."""

    size: int


@dataclass(frozen=True)
class RunsSeen:
    """All runs of the target, at each change of any."""

    runs: tuple[RunStatus, ...]


@dataclass(frozen=True)
class SampleSeen:
    """The newest sample of the target's machine."""

    sample: Sample


StreamEvent = StreamData | StreamReset | StreamEnd | RunsSeen | SampleSeen
OnEvent = Callable[[StreamEvent], None]

NOTIFICATIONS = frozenset({"data", "reset", "eof", "runs", "sample"})


def parse_notification(frame: Frame) -> tuple[int | str, StreamEvent]:
    """Return the subscription's id and the event; raises ProtocolError on anything malformed."""
    method, params = frame.header.get("method"), frame.header.get("params")
    if not isinstance(params, dict):
        raise ProtocolError(f"{method}: params is not an object")
    sub = params.get("sub")
    if not isinstance(sub, int | str):
        raise ProtocolError(f"{method}: no subscription id")
    return sub, _event(str(method), params, frame.payload)


def _event(method: str, params: dict[str, Any], payload: bytes) -> StreamEvent:
    if method == "data":
        return StreamData(_count(params, "o"), _generation(params), payload)
    if method == "reset":
        return StreamReset(_generation(params))
    if method == "eof":
        return StreamEnd(_count(params, "size"))
    if method == "runs":
        runs = params.get("runs")
        if not isinstance(runs, list):
            raise ProtocolError("runs: not a list")
        return RunsSeen(tuple(from_wire(RunStatus, run) for run in runs))
    return SampleSeen(from_wire(Sample, params.get("sample")))


def _count(params: dict[str, Any], key: str) -> int:
    value = params.get(key)
    if type(value) is not int or value < 0:
        raise ProtocolError(f"{key} is not a count of bytes: {value!r}")
    return value


def _generation(params: dict[str, Any]) -> str:
    value = params.get("gen")
    if type(value) not in (int, str):
        raise ProtocolError(f"gen is neither a number nor a string: {value!r}")
    return str(value)
