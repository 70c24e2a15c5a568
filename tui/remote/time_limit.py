"""A limit for a body that blocks where no timeout can be given."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def time_limit(seconds: float, give_up: Callable[[], None]) -> Iterator[threading.Event]:
    """Call ``give_up`` from another thread when the body takes longer; the event tells that it did."""
    late = threading.Event()

    def expire() -> None:
        late.set()
        give_up()

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
