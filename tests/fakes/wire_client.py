"""A bare client of the agent: a real relay process and frames, nothing of the laptop's code."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from remote_agent.places import Places
from remote_agent.protocol import Frame, FrameReader, encode

LIMIT_S = 30.0


class WireClient:
    """One connection through ``relay``; replies and notifications are kept in the order they came in."""

    def __init__(self, places: Places, *, program: Path | None = None, **environment: str) -> None:
        source = [str(program)] if program else ["-m", "remote_agent"]
        argv = [sys.executable, "-I", *source, "relay", "MARK"]
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **places.as_environment(), **environment},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.input, self.output = self.process.stdin, self.process.stdout
        self.marker = self.output.readline()
        self.frames: deque[Frame] = deque()
        self._reader = FrameReader()
        self._calls = 0

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    def hang_up(self) -> int:
        self.input.close()
        code = self.process.wait(LIMIT_S)
        self.output.close()
        return code

    def send(self, method: str, payload: bytes = b"", **params: Any) -> int:
        self._calls += 1
        header = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params}
        self.input.write(encode(header, payload))
        return self._calls

    def notify(self, method: str, **params: Any) -> None:
        self.input.write(encode({"jsonrpc": "2.0", "method": method, "params": params}))

    def call(self, method: str, payload: bytes = b"", **params: Any) -> Any:
        """Return the result of one call; fail on an error."""
        reply = self.reply(self.send(method, payload, **params))
        assert "error" not in reply.header, reply.header["error"]
        return reply.header["result"]

    def error(self, method: str, payload: bytes = b"", **params: Any) -> dict[str, Any]:
        """Return the error of one call; fail when it is answered."""
        reply = self.reply(self.send(method, payload, **params))
        assert "error" in reply.header, reply.header
        return dict(reply.header["error"])

    def reply(self, request: int) -> Frame:
        return self.wait(lambda frame: frame.header.get("id") == request)

    def event(self, method: str) -> Frame:
        return self.wait(lambda frame: frame.header.get("method") == method)

    def wait(self, wanted: Callable[[Frame], bool]) -> Frame:
        """Return the first frame, seen already or to come, that is wanted; others stay."""
        deadline = time.monotonic() + LIMIT_S
        seen = 0
        while True:
            for index in range(seen, len(self.frames)):
                if wanted(self.frames[index]):
                    found = self.frames[index]
                    del self.frames[index]
                    return found
            seen = len(self.frames)
            self.read(deadline)

    def read(self, deadline: float) -> None:
        """Take in what the relay has written, waiting for it until ``deadline``."""
        left = deadline - time.monotonic()
        ready = left > 0 and select.select([self.output], [], [], left)[0]
        assert ready, f"nothing came in {LIMIT_S:.0f} s; frames so far: {list(self.frames)[-3:]}"
        data = os.read(self.output.fileno(), 65536)
        if not data:
            raise EOFError("the agent hung up")
        self.frames.extend(self._reader.feed(data))
