"""How many bytes of a stream may be on their way, and when to tell the agent that some arrived."""

from __future__ import annotations

import time
from collections.abc import Callable

from remote_agent.protocol import CREDIT_BYTES

MAX_CREDIT_BYTES = 8 * CREDIT_BYTES
#: A stream whose rate times round trip comes this close to its credit waits for acks, not for the link.
_LIMITED = 0.8
#: A queue this long is not felt; nearer machines are treated as if they were this far.
_NEAR_S = 0.02
#: Acknowledging every frame costs a fifth of the processor time of a fast stream.
_ACKS_PER_CREDIT = 4


class Credit:
    """The credit of one subscription.

    It starts at 256 KiB, so that a slow link's queue stays short and a ping is answered soon, and doubles up
    to 2 MiB where the round trip and not the link holds the stream back, or where the link is fast: the agent
    sends larger frames then. The round trip is the shortest one
    seen: a queue of our own making must not be a reason for a longer queue.
    """

    def __init__(
        self, offset: int, round_trip_s: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.bytes = CREDIT_BYTES
        self._round_trip_s = round_trip_s
        self._clock = clock
        self._acked = self._measured_from = offset
        self._measured_since = clock()

    def consumed(self, offset: int) -> bool:
        """Note that all bytes up to ``offset`` were consumed; say whether to tell the agent."""
        if offset < self._acked:  # the file was replaced
            self._acked = self._measured_from = offset
        if offset - self._acked < self.bytes // _ACKS_PER_CREDIT:
            return False
        self._acked = offset
        self._grow(offset)
        return True

    def _grow(self, offset: int) -> None:
        received = offset - self._measured_from
        if received < self.bytes:
            return
        now = self._clock()
        seconds = max(now - self._measured_since, 1e-6)
        self._measured_from, self._measured_since = offset, now
        if received / seconds * max(self._round_trip_s(), _NEAR_S) >= _LIMITED * self.bytes:
            self.bytes = min(2 * self.bytes, MAX_CREDIT_BYTES)
