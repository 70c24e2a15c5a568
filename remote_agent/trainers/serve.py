"""Serves a model to chat with: ``-m remote_agent.trainers.serve serve.yaml key=value...``.

LLaMA-Factory's own OpenAI-compatible API on a free loopback port, with the key in ``API_KEY``. The settings
are LLaMA-Factory's (model_name_or_path, adapter_name_or_path, template, ...) and ``idle_s`` of ours, or else
the variable ``FINETUI_IDLE_S``: exit after so many seconds without a request, 0 for never. ``endpoint.json``
{port} appears in the run directory when it answers. A request with temperature 0 is greedy. The number of
tokens of a reply is ``usage.completion_tokens``: of the reply, or of the last chunk of a stream, where it is
counted from the text.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

from remote_agent.documents import write_json
from remote_agent.trainers.files import PhaseReport, run_directory, say
from remote_agent.trainers.llamafactory import read_arguments

HOST = "127.0.0.1"
#: A reply that is being streamed gets this long when the server is told to end.
SHUTDOWN_S = 2
Asgi = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class Activity:
    """An ASGI layer that knows for how long nobody has asked the model anything."""

    def __init__(self, app: Asgi, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._active = 0
        self._last = clock()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        self._active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._active -= 1
            self._last = self._clock()

    @property
    def idle_s(self) -> float:
        """Seconds since the last request ended, 0 while one is being answered."""
        return 0.0 if self._active else self._clock() - self._last


async def with_usage(
    chunks: AsyncGenerator[str, None], count: Callable[[str], int]
) -> AsyncGenerator[str, None]:
    """Add ``usage`` to the last chunk of a streamed reply; ``count`` gives the tokens of a text."""
    text = ""
    async for chunk in chunks:
        if not chunk.startswith("{"):
            yield chunk
            continue
        document = json.loads(chunk)
        choice = document["choices"][0]
        text += choice["delta"].get("content") or ""
        if choice.get("finish_reason"):
            document["usage"] = {"completion_tokens": count(text)}
        yield json.dumps(document, ensure_ascii=False)


def make_app(settings: dict[str, Any]) -> Asgi:
    """Load the model and return LLaMA-Factory's application over it."""
    from llamafactory.api import app as api
    from llamafactory.chat import ChatModel

    model = ChatModel(settings)
    tokenizer = getattr(model.engine, "tokenizer", None)
    if tokenizer is not None:
        # LLaMA-Factory asks for this "clean-up" of English prose: it turns the SQL = 'a' into ='a'.
        tokenizer.clean_up_tokenization = lambda text: text

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False)) if tokenizer and text else 0

    stream = api.create_stream_chat_completion_response
    # LLaMA-Factory 0.9.5 streams without any usage; the route looks this name up at every request.
    api.create_stream_chat_completion_response = lambda request, chat: with_usage(
        stream(request, chat), count
    )
    application: Asgi = api.create_app(model)
    return application


async def serve(app: Activity, listener: socket.socket, idle_s: float, ready: Callable[[], None]) -> None:
    """Answer until SIGTERM, SIGINT or ``idle_s`` seconds of silence; call ``ready`` once it answers."""
    import uvicorn

    class Server(uvicorn.Server):  # type: ignore[misc, unused-ignore]
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=SHUTDOWN_S)
    server = Server(config)

    def end() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)

    async def end_when_idle() -> None:
        while app.idle_s < idle_s:
            await asyncio.sleep(min(5.0, max(0.1, idle_s - app.idle_s)))
        say(f"nobody asked for {idle_s:.0f} s: the server ends")
        end()

    watch = asyncio.create_task(end_when_idle()) if idle_s > 0 else None
    # Server.run would install handlers that raise the signal again at the end, and so hide the exit code.
    await server._serve(sockets=[listener])
    if watch:
        watch.cancel()


def main(argv: list[str]) -> int:
    """Serve until told to end; returns the exit code."""
    run_dir = run_directory()
    report = PhaseReport(run_dir)
    if not os.environ.get("API_KEY"):
        say("API_KEY is not set: a model is not served without a key; start the server with finetui serve")
        return 2
    os.environ["API_VERBOSE"] = "0"
    report("loading", "the model")
    settings = read_arguments(argv)
    idle_s = float(settings.pop("idle_s", os.environ.get("FINETUI_IDLE_S")) or 0)
    listener = socket.create_server((HOST, 0))
    port = listener.getsockname()[1]
    app = Activity(make_app(settings))

    def ready() -> None:
        write_json(run_dir / "endpoint.json", {"port": port})
        report("serving", f"on port {port}")
        say(f"serving {settings.get('model_name_or_path')} on {HOST}:{port}")

    asyncio.run(serve(app, listener, idle_s, ready))
    Path(run_dir / "endpoint.json").unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # A reply that is still being generated must not keep the process: its thread can't be interrupted.
    os._exit(status)
