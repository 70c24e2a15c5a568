"""Start agentd so that it is nobody's child, and hear whether it came up."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence

from remote_agent.errors import AgentError
from remote_agent.identity import Identity, Proc, send
from remote_agent.places import Places
from remote_agent.protocol import FAILED

#: A loaded pod takes 0.6 s to start the interpreter and import asyncio; a cold network volume far more.
START_LIMIT_S = 30.0
READY = b"ready\n"


def start_agentd(places: Places, argv: Sequence[str], *, limit_s: float = START_LIMIT_S) -> None:
    """Run ``argv agentd FD`` in a session of its own and wait until it listens.

    Raises AgentError with its reason; what gave no sign within ``limit_s`` is killed first.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _become_agentd(places, argv, write_end)
    os.close(write_end)
    os.waitpid(child, 0)
    proc = Proc()
    agent: Identity | None = None
    try:
        deadline = time.monotonic() + limit_s
        first = _read_line(read_end, deadline)
        if first.startswith(b"pid "):
            agent = proc.identify(int(first[4:]))
            first = _read_line(read_end, deadline)
    finally:
        os.close(read_end)
    if first != READY:
        send(agent, signal.SIGKILL, proc)
        reason = first.decode("utf-8", "replace").strip() or "it ended or gave no sign in time"
        raise AgentError(FAILED, f"the agent did not start: {reason}", remedy=f"see {places.agentd_log}")


def _become_agentd(places: Places, argv: Sequence[str], ready: int) -> None:
    """Double fork, so that agentd is nobody's child, then exec it; never returns."""
    try:
        os.setsid()
        if os.fork() == 0:
            os.write(ready, f"pid {os.getpid()}\n".encode())
            null = os.open(os.devnull, os.O_RDWR)
            log = os.open(places.agentd_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            for target, source in ((0, null), (1, log), (2, log)):
                os.dup2(source, target)
            os.set_inheritable(ready, True)
            os.chdir("/")
            os.execve(argv[0], [*argv, "agentd", str(ready)], {**os.environ, **places.as_environment()})
    except OSError as error:
        os.write(ready, f"{error}\n".encode())
    finally:
        os._exit(1)


def _read_line(descriptor: int, deadline: float) -> bytes:
    """Read until newline, end of file or ``deadline`` (monotonic clock), one byte at a time."""
    said = b""
    while not said.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            break
        data = os.read(descriptor, 1)
        if not data:
            break
        said += data
    return said
