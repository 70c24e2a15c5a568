"""What is known of the connection to a target, and when to try again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["connecting", "live", "lost"]


@dataclass(frozen=True)
class ConnectionChanged:
    """A target's connection at one moment.

    ``since`` is when this state began and ``next_try_s`` how long until the next attempt, both in seconds;
    ``since`` is on the monotonic clock. ``reason`` says why it was lost, ``remedy`` what to do about it.
    """

    target: str
    state: State
    since: float
    reason: str = ""
    remedy: str = ""
    next_try_s: float | None = None


class Backoff:
    """Waits of 0.3 s doubling to 15 s, each spread by half so that many clients don't return at once."""

    FIRST_S = 0.3
    LONGEST_S = 15.0

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self._wait_s = self.FIRST_S

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        wait_s = self._wait_s
        self._wait_s = min(self.LONGEST_S, wait_s * 2)
        return self._uniform(wait_s / 2, wait_s)

    def reset(self) -> None:
        """Start over: a connection lived."""
        self._wait_s = self.FIRST_S
