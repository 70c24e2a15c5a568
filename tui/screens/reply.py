"""One streamed reply: a thread that reads it and posts what came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from presets.errors import FinetuiError
from tui.messages import ReplyEnded, ReplyGrew
from tui.screens.conversation import Parameters, speed_note

if TYPE_CHECKING:
    from tui.operations.chat import ChatSession

#: A screen can't be read faster than this; pieces that come sooner wait for the next one (s).
POST_EVERY_S = 0.08


def stream_reply(
    chat: ChatSession,
    messages: Sequence[dict[str, str]],
    parameters: Parameters,
    *,
    stop: threading.Event,
    post: Callable[[Any], object],
    clock: Callable[[], float],
) -> None:
    """Start a thread that posts ReplyGrew for each piece and at last ReplyEnded; ``stop`` ends it early."""
    work = partial(_run, chat, messages, parameters, stop=stop, post=post, clock=clock)
    threading.Thread(target=work, name="finetui reply", daemon=True).start()


def _run(
    chat: ChatSession,
    messages: Sequence[dict[str, str]],
    parameters: Parameters,
    *,
    stop: threading.Event,
    post: Callable[[Any], object],
    clock: Callable[[], float],
) -> None:
    from tui.operations.chat import Delta

    unposted: list[str] = []
    posted = -POST_EVERY_S
    note, failure = "", None
    stream = chat.stream(
        messages,
        temperature=parameters.temperature,
        top_p=parameters.top_p,
        max_tokens=parameters.max_tokens,
    )
    try:
        for item in stream:
            if stop.is_set():
                break
            if not isinstance(item, Delta):
                note = speed_note(item.tokens, item.ttft_s, item.tokens_per_s)
                continue
            unposted.append(item.text)
            now = clock()
            if now - posted >= POST_EVERY_S:
                post(ReplyGrew("".join(unposted), stop))
                unposted.clear()
                posted = now
    except FinetuiError as error:
        failure = error
    if unposted:
        post(ReplyGrew("".join(unposted), stop))
    post(ReplyEnded(note, stop, failure))
