"""Leave no process behind: freeze and kill a whole tree, then look for strays by the run's cookie.

Killing the process group is not enough: torchrun gives every worker a session of its own, and killpg(SIGKILL)
was measured to leave 4 of 6 processes alive.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from remote_agent.identity import Identity, Proc, send

COOKIE_VARIABLE = "FINETUI_COOKIE"
#: A process in uninterruptible sleep can't be killed; it is reported after this long.
KILL_TIMEOUT_S = 10.0


def descendants(proc: Proc, ancestor: int) -> list[Identity]:
    """Return every living process below ``ancestor``; with a subreaper there, orphans are among them."""
    boot = proc.boot()
    children: dict[int, list[int]] = {}
    found: dict[int, Identity] = {}
    for pid in proc.pids():
        stat = proc.stat(pid)
        if stat is None:
            continue
        children.setdefault(stat.parent, []).append(pid)
        if stat.state not in "ZX":
            found[pid] = Identity(pid, stat.start_ticks, boot)
    below, queue = [], [ancestor]
    while queue:
        for child in children.get(queue.pop(), []):
            queue.append(child)
            if child in found:
                below.append(found[child])
    return below


def carriers(proc: Proc, cookie: str) -> list[Identity]:
    """Return every living process of ours, this one apart, that was started with the run's cookie."""
    wanted = f"{COOKIE_VARIABLE}={cookie}".encode()
    found = []
    for pid in proc.pids():
        if pid != os.getpid() and wanted in proc.environ(pid).split(b"\0"):
            identity = proc.identify(pid)
            if identity is not None:
                found.append(identity)
    return found


def kill_all(
    proc: Proc,
    find: Callable[[], list[Identity]],
    reap: Callable[[], object],
    *,
    timeout_s: float = KILL_TIMEOUT_S,
    clock: Callable[[], float] = time.monotonic,
) -> list[Identity]:
    """Kill what ``find`` returns until it returns nothing; return what survived ``timeout_s``.

    All are frozen before the first is killed, again and again until no new one appears: a tree can't fork
    away from its killer. ``reap`` collects the dead where they are our children.
    """
    deadline = clock() + timeout_s
    while True:
        frozen: set[Identity] = set()
        while True:
            fresh = [identity for identity in find() if identity not in frozen]
            if not fresh:
                break
            for identity in fresh:
                send(identity, signal.SIGSTOP, proc)
            frozen.update(fresh)
        for identity in frozen:
            send(identity, signal.SIGKILL, proc)
        reap()
        survivors = find()
        if not survivors or clock() >= deadline:
            return survivors
        time.sleep(0.01)
