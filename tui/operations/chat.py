"""Chat with a checkpoint or the base through its model server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tui.errors import RemoteError, Unreachable
from tui.operations.serve import IDLE_S, OnStatus, Server, open_server
from tui.remote.agent_client import AgentClient

MAX_TOKENS = 512
#: Longest silence of a model server; on a CPU a long prompt takes its time.
_SILENCE_S = 300.0


@dataclass(frozen=True)
class Delta:
    """A piece of the reply."""

    text: str


@dataclass(frozen=True)
class ReplyStats:
    """The end of a reply: its length in tokens, seconds to the first one, tokens per second after it."""

    tokens: int
    ttft_s: float
    tokens_per_s: float
    finish_reason: str = ""


@dataclass(frozen=True)
class ReplyDone:
    """A whole reply with its figures."""

    text: str
    stats: ReplyStats


class ChatSession:
    """Talks to one model server; replies stream."""

    def __init__(self, server: Server, clock: Callable[[], float] = time.monotonic) -> None:
        self.server = server
        self._clock = clock
        self._http = httpx.Client(
            base_url=server.url,
            headers={"Authorization": f"Bearer {server.key}"},
            timeout=httpx.Timeout(_SILENCE_S, connect=10.0),
            # A proxy of the environment must not see a loopback address, nor the key.
            trust_env=False,
        )

    def stream(
        self,
        messages: Sequence[dict[str, str]],
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_tokens: int = MAX_TOKENS,
    ) -> Generator[Delta | ReplyStats, None, None]:
        """Yield the reply piece by piece, then its figures; closing the iterator stops the reply.

        ``temperature`` 0 is greedy. Raises RemoteError when the server refuses, Unreachable when it is gone.
        """
        body: dict[str, Any] = {
            "model": "finetui",
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": max_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "do_sample": temperature > 0,
        }
        meter = _Meter(self._clock)
        try:
            with self._http.stream("POST", "chat/completions", json=body) as response:
                _refuse_bad(response)
                for document in _events(response):
                    text = meter.take(document)
                    if text:
                        yield Delta(text)
        except httpx.HTTPError as error:
            raise Unreachable(
                "the model server went away",
                cause=str(error) or type(error).__name__,
                remedy=f"read its log with: finetui logs {self.server.run}",
            ) from error
        yield meter.stats()

    def reply(
        self,
        messages: Sequence[dict[str, str]],
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_tokens: int = MAX_TOKENS,
    ) -> ReplyDone:
        """Return a whole reply; errors as of ``stream``."""
        text, stats = "", ReplyStats(0, 0.0, 0.0)
        for item in self.stream(messages, temperature=temperature, top_p=top_p, max_tokens=max_tokens):
            if isinstance(item, Delta):
                text += item.text
            else:
                stats = item
        return ReplyDone(text, stats)

    def close(self) -> None:
        """Let go of the server; it ends by itself when it is left idle."""
        self._http.close()


def open_chat(
    client: AgentClient,
    run: str,
    step: int | str | None = None,
    *,
    idle_s: float = IDLE_S,
    on_status: OnStatus | None = None,
) -> ChatSession:
    """Chat with ``run`` at ``step``: a number, "base", or None for the newest; see ``open_server``."""
    return ChatSession(open_server(client, run, step, idle_s=idle_s, on_status=on_status))


class _Meter:
    """Counts a reply as it arrives."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked = clock()
        self._first: float | None = None
        self._last = self._asked
        self._pieces = 0
        self._counted: int | None = None
        self._finish = ""

    def take(self, document: dict[str, Any]) -> str:
        usage = document.get("usage")
        if isinstance(usage, dict) and type(usage.get("completion_tokens")) is int:
            self._counted = usage["completion_tokens"]
        choices = document.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return ""
        self._finish = str(choices[0].get("finish_reason") or self._finish)
        delta = choices[0].get("delta")
        text = delta.get("content") if isinstance(delta, dict) else None
        if not isinstance(text, str) or not text:
            return ""
        self._last = self._clock()
        self._first = self._last if self._first is None else self._first
        self._pieces += 1
        return text

    def stats(self) -> ReplyStats:
        """Servers that send no usage stream one piece a token, so the pieces are counted then."""
        tokens = self._pieces if self._counted is None else self._counted
        first = self._last if self._first is None else self._first
        took_s = self._last - first
        speed = (tokens - 1) / took_s if tokens > 1 and took_s > 0 else 0.0
        return ReplyStats(tokens, first - self._asked, speed, self._finish)


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        try:
            document = json.loads(data)
        except ValueError as error:
            raise RemoteError("the model server's answer is malformed", cause=data[:200]) from error
        if isinstance(document, dict):
            yield document


def _refuse_bad(response: httpx.Response) -> None:
    if response.is_success:
        return
    text = response.read().decode("utf-8", "replace")
    raise RemoteError(
        f"the model server refused with HTTP {response.status_code}",
        cause=text[:500],
        remedy="check the roles of the messages: they alternate between user and assistant",
    )
