"""Time as the fake sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: 2026-11-21T00:00:00Z
START = 1_795_219_200.0


class RealClock:
    """The wall clock, for end-to-end tests in subprocesses."""

    def now(self) -> float:
        return time.time()


class ManualClock:
    """Stands still until a test (or the code under test, through an injected wait) moves it on."""

    def __init__(self) -> None:
        self._now = START
        self._lock = threading.Lock()
        self.after_advance: Callable[[], None] = lambda: None

    def now(self) -> float:
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds
        self.after_advance()
