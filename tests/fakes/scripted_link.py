"""A link whose far side is the test: it sees each frame that was sent and answers what it likes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from remote_agent.protocol import Frame, FrameReader, encode


class ScriptedLink:
    """The client reads what the test feeds; frames that it sends go to ``answer`` and ``sent``."""

    def __init__(self, answer: Callable[[ScriptedLink, Frame], None] | None = None) -> None:
        self.sent: queue.Queue[Frame] = queue.Queue()
        self.closed = threading.Event()
        self.words = ""
        self._answer = answer
        self._frames = FrameReader()
        self._incoming: queue.Queue[bytes] = queue.Queue()

    def read(self, max_bytes: int) -> bytes:
        return self._incoming.get()

    def write(self, data: bytes) -> None:
        if self.closed.is_set():
            raise BrokenPipeError("closed")
        for frame in self._frames.feed(data):
            if self._answer is not None:
                self._answer(self, frame)
            self.sent.put(frame)

    def close(self) -> None:
        self.closed.set()
        self._incoming.put(b"")

    def last_words(self) -> str:
        return self.words

    def feed(self, data: bytes) -> None:
        self._incoming.put(data)

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self.feed(encode(header, payload))

    def reply(self, frame: Frame, result: Any, payload: bytes = b"") -> None:
        self.send({"jsonrpc": "2.0", "id": frame.header["id"], "result": result}, payload)

    def notify(self, method: str, payload: bytes = b"", **params: Any) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params}, payload)

    def expect(self, method: str, timeout_s: float = 5.0) -> Frame:
        """Return the next frame of that method, skipping others."""
        while True:
            frame = self.sent.get(timeout=timeout_s)
            if frame.header.get("method") == method:
                return frame
