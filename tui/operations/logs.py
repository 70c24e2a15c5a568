"""A run's log: its bytes as they are on the target, or the copy kept here."""

from __future__ import annotations

from collections.abc import Iterator

from tui.remote.agent_client import AgentClient
from tui.remote.transfer import file_size, read_remote
from tui.state.history import History

_TAIL_BLOCK_BYTES = 64 * 1024


def log_path(run: str) -> str:
    """Return the log's path under the target's state directory."""
    return f"runs/{run}/log"


def read_log(client: AgentClient, run: str, tail_lines: int | None = None) -> Iterator[bytes]:
    """Yield the log as it is now, or its last lines; raises RemoteError, Unreachable."""
    end = file_size(client, log_path(run))
    start = 0 if tail_lines is None else _tail_start(client, run, end, tail_lines)
    return read_remote(client, log_path(run), start, end)


def read_copy(run: str) -> bytes:
    """Return what this laptop holds of the log; empty when it never followed the run."""
    try:
        return History().log_path(run).read_bytes()
    except FileNotFoundError:
        return b""


def last_lines(data: bytes, count: int) -> bytes:
    """Return the last ``count`` lines of ``data``."""
    return data[_start_of_lines(data, count) :]


def _tail_start(client: AgentClient, run: str, end: int, lines: int) -> int:
    start, tail = end, b""
    while start > 0 and tail.count(b"\n") <= lines:
        before = max(0, start - _TAIL_BLOCK_BYTES)
        tail = b"".join(read_remote(client, log_path(run), before, start)) + tail
        start = before
    return start + _start_of_lines(tail, lines)


def _start_of_lines(data: bytes, count: int) -> int:
    position = len(data) - data.endswith(b"\n")
    for _ in range(count):
        position = data.rfind(b"\n", 0, position)
        if position < 0:
            return 0
    return position + 1
