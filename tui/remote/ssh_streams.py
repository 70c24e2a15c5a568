"""The end of a stderr stream, kept for error messages."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: As much as an error message can use; the rest is dropped so that a chatty peer costs no memory.
TAIL_BYTES = 4096


class Tail:
    """The last bytes of a stream that must be drained so that its writer never blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._data = b""
        self._thread: threading.Thread | None = None

    def drain(self, read: Callable[[], bytes], name: str, on_end: Callable[[], None] | None = None) -> None:
        """Read in a thread until ``read`` returns b"" or raises OSError, then call ``on_end``."""

        def loop() -> None:
            try:
                while data := read():
                    self.add(data)
            except OSError:
                pass
            if on_end is not None:
                on_end()

        self._thread = threading.Thread(target=loop, name=name, daemon=True)
        self._thread.start()

    def add(self, data: bytes) -> None:
        """Keep the end of what came so far."""
        with self._lock:
            self._data = (self._data + data)[-TAIL_BYTES:]

    def text(self, wait_s: float = 0.0) -> str:
        """Return the end of the stream as text, waiting up to ``wait_s`` seconds for its end."""
        if wait_s and self._thread is not None:
            self._thread.join(wait_s)
        with self._lock:
            return self._data.decode("utf-8", "replace").strip()
