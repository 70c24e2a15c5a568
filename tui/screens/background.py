"""Blocking work in a thread, its result handed back on the event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from textual.message_pump import MessagePump

from presets.errors import FinetuiError
from tui.messages import Failed, Finished

T = TypeVar("T")


def start_background(
    owner: MessagePump,
    what: str,
    work: Callable[[], T],
    then: Callable[[T], None],
    instead: Callable[[BaseException], None] | None = None,
) -> None:
    """Run ``work`` in a daemon thread and post Finished or Failed to ``owner``.

    A daemon, so that a dead connection never holds up quitting. A FinetuiError is the user's to read; any
    other exception reaches the app through threading.excepthook.
    """

    def run() -> None:
        try:
            result = work()
        except FinetuiError as error:
            owner.post_message(Failed(what, error, instead))
        else:
            owner.post_message(Finished(then, result))

    threading.Thread(target=run, name=f"finetui {what}", daemon=True).start()
