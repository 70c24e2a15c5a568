"""Decides when to ping a silent peer and when to give it up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

PING_AFTER_S = 5.0
DEAD_AFTER_S = 15.0
#: A tick this late, or a wall clock that ran this far ahead, means that this machine slept.
SLEPT_S = 10.0
#: After a sleep the peer has this long to answer.
WAKE_LIMIT_S = 3.0


class Heartbeat:
    """Any byte counts as a sign of life; silence counts only while this side was awake and reading."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._heard = self._ticked = self._pinged = clock()
        self._wall_ahead = wall_clock() - clock()
        #: True while the reader is handing data on: bytes may wait unread meanwhile.
        self.busy = False

    def heard(self) -> None:
        """Note that a byte arrived."""
        self._heard = self._clock()

    def tick(self) -> Literal["quiet", "ping", "dead"]:
        """Say what to do now; to be called about once a second."""
        now = self._clock()
        wall_ahead = self._wall_clock() - now
        slept = now - self._ticked > SLEPT_S or wall_ahead - self._wall_ahead > SLEPT_S
        self._ticked, self._wall_ahead = now, wall_ahead
        if self.busy:
            self._heard = now
            return "quiet"
        if slept:
            self._heard = now - DEAD_AFTER_S + WAKE_LIMIT_S
            self._pinged = now
            return "ping"
        if now - self._heard >= DEAD_AFTER_S:
            return "dead"
        if now - max(self._heard, self._pinged) >= PING_AFTER_S:
            self._pinged = now
            return "ping"
        return "quiet"
