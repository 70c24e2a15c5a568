"""A pod's log as server-sent events, resumed where a connection broke."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import httpx

from tui.clouds.runpod_http import ATTEMPTS, RunPodHttp, refusal, unreachable

_TAIL_LINES = "5000"
_DOING = "show the pod's log"


def follow(
    http: RunPodHttp, path: str, quiet_s: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[str]:
    """Yield container lines until none comes for ``quiet_s`` seconds; raises FinetuiError."""
    last_id = ""
    broken = 0
    while True:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        params = {"source": "container", "tail": _TAIL_LINES}
        timeout = httpx.Timeout(30.0, connect=10.0, read=quiet_s)
        try:
            with http.client.stream("GET", path, params=params, headers=headers, timeout=timeout) as answer:
                if not answer.is_success:
                    answer.read()
                    raise refusal(answer, _DOING)
                heard = clock()
                for event_id, line in _events(answer.iter_lines()):
                    last_id = event_id
                    if line is not None:
                        broken, heard = 0, clock()
                        yield line
                    elif clock() - heard >= quiet_s:
                        return
        except httpx.ReadTimeout:
            return
        except httpx.TransportError as error:
            broken += 1
            if broken >= ATTEMPTS:
                raise unreachable(error, _DOING) from error
        else:
            # The provider ended the stream: the pod is gone.
            return


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str | None]]:
    """Yield (id, log line) of each event; the line is None for what keeps the stream alive."""
    event_id, data = "", ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            event_id = value
        elif field == "data":
            data += value
        elif not line and data:
            yield event_id, _log_line(data)
            data = ""
        elif not field:
            yield event_id, None


def _log_line(data: str) -> str | None:
    try:
        found = json.loads(data)
    except ValueError:
        return None
    line = found.get("line") if isinstance(found, dict) else None
    return line if isinstance(line, str) else None
