"""A run's metrics: one record a line of metrics.jsonl."""

from __future__ import annotations

import json
from typing import Any

from tui.remote.agent_client import AgentClient
from tui.remote.transfer import read_remote
from tui.state.history import History

#: A longer line is not a record.
MAX_LINE_BYTES = 1024 * 1024


def read_metrics(client: AgentClient, run: str) -> list[dict[str, Any]]:
    """Return all records as they are on the target; raises RemoteError, Unreachable."""
    return RecordReader().feed(b"".join(read_remote(client, f"runs/{run}/metrics.jsonl")))


def read_copy(run: str) -> list[dict[str, Any]]:
    """Return the records that this laptop holds."""
    try:
        return RecordReader().feed(History().metrics_path(run).read_bytes())
    except FileNotFoundError:
        return []


class RecordReader:
    """Cuts bytes into JSON records, however they were chunked; a damaged line is skipped and counted."""

    def __init__(self) -> None:
        self._torn = b""
        self.bad_lines = 0

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the records that ``data`` completes."""
        *lines, self._torn = (self._torn + data).split(b"\n")
        if len(self._torn) > MAX_LINE_BYTES:
            self._torn = b""
        records = [_record(line) for line in lines if line.strip()]
        good = [record for record in records if record is not None]
        self.bad_lines += len(records) - len(good)
        return good


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
