"""Answers of the agent: results with their payloads, and refusals as errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from remote_agent.protocol import Frame
from tui.errors import RemoteError


@dataclass(frozen=True)
class Reply:
    """The result of a call with the raw bytes that came along."""

    result: Any
    payload: bytes = b""


@dataclass(frozen=True)
class Pending:
    """A call on its way; ``reply(timeout_s)`` waits for it and raises what ``AgentClient.call`` does."""

    reply: Callable[[float], Reply]


def read_reply(method: str, frame: Frame) -> Reply:
    """Return the result; raises RemoteError when the agent refused ``method``."""
    if frame.header.get("error") is not None:
        raise refusal(method, frame)
    return Reply(frame.header.get("result"), frame.payload)


def refusal(what: str, frame: Frame) -> RemoteError:
    """Return the error that the agent answered with; its document may be anything."""
    error = frame.header["error"]
    document = cast("dict[str, Any]", error if isinstance(error, dict) else {})
    data = document.get("data")
    details = cast("dict[str, Any]", data if isinstance(data, dict) else {})
    code = document.get("code")
    return RemoteError(
        str(document.get("message") or f"{what} failed"),
        cause=str(details.get("cause") or ""),
        remedy=str(details.get("remedy") or ""),
        code=code if type(code) is int else 0,
    )
