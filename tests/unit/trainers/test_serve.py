"""When a model server is idle, and the token count at the end of a stream; no model is loaded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from remote_agent.trainers import serve
from remote_agent.trainers.serve import Activity, with_usage


def chunk(content: str | None, finish: str | None = None) -> str:
    delta = {} if content is None else {"content": content}
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def test_the_last_chunk_of_a_stream_has_the_token_count() -> None:
    async def reply() -> AsyncGenerator[str, None]:
        for text in (chunk(""), chunk("a b "), chunk("c"), chunk(None, "stop"), "[DONE]"):
            yield text

    async def read() -> list[str]:
        return [text async for text in with_usage(reply(), lambda text: len(text.split()))]

    *parts, last, done = asyncio.run(read())
    assert done == "[DONE]"
    assert json.loads(last)["usage"] == {"completion_tokens": 3}
    assert all("usage" not in json.loads(part) for part in parts)


def test_a_server_is_not_idle_while_it_answers_and_idle_after() -> None:
    now = 100.0
    seen = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        nonlocal now
        now += 30.0
        seen.append(activity.idle_s)

    activity = Activity(app, clock=lambda: now)
    asyncio.run(activity({"type": "http", "method": "POST"}, None, None))
    assert seen == [0.0] and activity.idle_s == 0.0
    now += 5.0
    assert activity.idle_s == 5.0


def test_looking_at_the_models_does_not_keep_a_server_alive() -> None:
    now = 100.0

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        return None

    activity = Activity(app, clock=lambda: now)
    now += 60.0
    asyncio.run(activity({"type": "http", "method": "GET"}, None, None))
    assert activity.idle_s == 60.0


def test_without_a_key_nothing_is_served(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("API_KEY", raising=False)

    assert serve.main(["serve.yaml"]) == 2
    assert "finetui: API_KEY is not set" in capfd.readouterr().err
