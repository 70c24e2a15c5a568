"""Connecting from the command line: questions about host keys and passphrases go to the terminal."""

from __future__ import annotations

import functools
import getpass
import sys
from pathlib import Path

from tui.operations import targets
from tui.remote.agent_client import AgentClient
from tui.remote.ssh_ask import Ask, HostKeyQuestion, nobody_to_ask


def connect(target: str) -> AgentClient:
    """Connect to the agent on ``target``; as ``tui.operations.targets.connect``, with someone to ask."""
    return targets.connect(target, terminal_ask())


@functools.cache
def terminal_ask() -> Ask:
    """Return callbacks that ask on the terminal, or decline where there is none.

    The same ones for the whole command: a key that was unlocked for its first connection stays unlocked.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return nobody_to_ask()
    return Ask(host_key=_ask_host_key, passphrase=_ask_passphrase)


def _ask_host_key(question: HostKeyQuestion) -> bool:
    print(
        f"Nobody has vouched for the host key of {question.host} yet:\n"
        f"  {question.key_type} {question.fingerprint}\n"
        f"Compare it with the one that the machine or its provider shows. A yes is kept in {question.file}.",
        file=sys.stderr,
    )
    return _answer("Trust it and connect? [yes/no] ") == "yes"


def _ask_passphrase(path: Path) -> str | None:
    try:
        return getpass.getpass(f"Passphrase of {path} (empty to skip this key): ", stream=sys.stderr) or None
    except EOFError:
        return None


def _answer(prompt: str) -> str:
    print(prompt, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower()
