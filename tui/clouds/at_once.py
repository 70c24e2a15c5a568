"""Several requests at the same time, for the price of the slowest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from tui.errors import FinetuiError

T = TypeVar("T")


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Return the results of ``calls`` in order; raises what the first of them raises.

    The threads are daemons: Ctrl-C does not wait for a server that hangs.
    """
    futures: list[Future[T]] = [Future() for _ in calls]
    for future, call in zip(futures, calls, strict=True):
        threading.Thread(target=_settle, args=(future, call), name="finetui-cloud", daemon=True).start()
    return [future.result() for future in futures]


def _settle(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except FinetuiError as error:
        future.set_exception(error)
    finally:
        # A fault of ours: whoever waits must not wait for ever.
        future.cancel()
