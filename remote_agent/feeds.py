"""Subscriptions to something that has only a newest value: all runs, or the machine's sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remote_agent.protocol import encode


class NewestStream:
    """Holds at most one value; a newer one replaces what was not sent yet."""

    def __init__(self, sub: int, method: str, on_close: Callable[[NewestStream], None]) -> None:
        self.sub = sub
        self.due: float | None = None
        self.closed = False
        self._method = method
        self._on_close = on_close
        self._value: dict[str, Any] = {}
        self._fresh = False

    def offer(self, value: dict[str, Any]) -> None:
        """Replace the parameters to send."""
        self._value = value
        self._fresh = True

    def take(self, now: float) -> bytes | None:
        """Return the newest value's frame, once."""
        if not self._fresh:
            return None
        self._fresh = False
        params = {"sub": self.sub, **self._value}
        return encode({"jsonrpc": "2.0", "method": self._method, "params": params})

    def ack(self, offset: int, credit: int | None = None) -> None:
        """Nothing to do: what conflates needs no credit."""

    def close(self) -> None:
        """Stop being offered values."""
        if not self.closed:
            self.closed = True
            self._on_close(self)
