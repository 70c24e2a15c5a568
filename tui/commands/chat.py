"""``finetui chat RUN[@STEP]``."""

from __future__ import annotations

import argparse
import sys

from tui.commands.connecting import connect
from tui.commands.output import note, print_json
from tui.commands.progress import progress_printer
from tui.errors import InvalidInput
from tui.operations.chat import ChatSession, Delta, ReplyStats, open_chat
from tui.operations.runs import resolve


def chat(arguments: argparse.Namespace) -> int:
    """Answer one message, or talk line by line."""
    _check(arguments)
    found = resolve(arguments.run, arguments.on, connect)
    with connect(found.target) as client:
        session = open_chat(client, found.run, found.step, on_status=progress_printer(note))
        try:
            if arguments.message is None:
                _talk(session, arguments)
            else:
                _answer(session, arguments)
        finally:
            session.close()
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.message is None and arguments.json:
        raise InvalidInput("chat --json needs a message", remedy="give one with -m TEXT")
    if arguments.message is not None and not arguments.message.strip():
        raise InvalidInput("the message is empty", remedy="give one with -m TEXT")
    if arguments.temperature < 0:
        raise InvalidInput("--temperature can't be negative", remedy="0 is greedy, 1 is the model as trained")
    if not 0 < arguments.top_p <= 1:
        raise InvalidInput("--top-p must be over 0 and at most 1")
    if arguments.max_tokens < 1:
        raise InvalidInput("--max-tokens must be at least 1")


def _answer(session: ChatSession, arguments: argparse.Namespace) -> None:
    messages = [*_system(arguments), {"role": "user", "content": arguments.message}]
    if not arguments.json:
        _, stats = _stream(session, messages, arguments)
        note(_figures(stats))
        return
    reply = session.reply(
        messages,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        max_tokens=arguments.max_tokens,
    )
    print_json(
        {
            "reply": reply.text,
            "tokens": reply.stats.tokens,
            "ttft_s": reply.stats.ttft_s,
            "tokens_per_s": reply.stats.tokens_per_s,
        }
    )


def _talk(session: ChatSession, arguments: argparse.Namespace) -> None:
    note(f"{session.server.checkpoint}; one line is one message, Ctrl-C stops a reply, Ctrl-D leaves")
    messages = _system(arguments)
    while True:
        line = _ask()
        if line is None:
            return
        if not line.strip():
            continue
        messages.append({"role": "user", "content": line})
        text, stats = _stream(session, messages, arguments)
        messages.append({"role": "assistant", "content": text})
        note(_figures(stats))


def _ask() -> str | None:
    if sys.stdin.isatty():
        sys.stderr.write("> ")
        sys.stderr.flush()
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None


def _stream(
    session: ChatSession, messages: list[dict[str, str]], arguments: argparse.Namespace
) -> tuple[str, ReplyStats | None]:
    """Print the reply as it comes; Ctrl-C stops it and keeps what was said."""
    text, stats = "", None
    pieces = session.stream(
        messages,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        max_tokens=arguments.max_tokens,
    )
    try:
        for piece in pieces:
            if isinstance(piece, Delta):
                text += piece.text
                print(_safe(piece.text), end="", flush=True)
            else:
                stats = piece
    except KeyboardInterrupt:
        pieces.close()
    print(flush=True)
    return text, stats


def _system(arguments: argparse.Namespace) -> list[dict[str, str]]:
    return [{"role": "system", "content": arguments.system}] if arguments.system else []


def _safe(text: str) -> str:
    """A model may write escape sequences; a terminal must not obey them."""
    if not sys.stdout.isatty():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _figures(stats: ReplyStats | None) -> str:
    if stats is None:
        return "stopped"
    return f"{stats.tokens} tokens, first after {stats.ttft_s:.2f} s, {stats.tokens_per_s:.1f} tokens/s"
