"""Start a process that waits at a gate until its identity is on disk.

If the supervisor dies before it has written down whom it started, the gate closes and the process ends
without having run anything: there is no moment at which a job exists that nobody knows of.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_RESET = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGPIPE,
    signal.SIGXFSZ,
)


@dataclass(frozen=True)
class Held:
    """A process at the gate: leader of its own session; ``gate`` and ``errors`` are descriptors."""

    pid: int
    gate: int
    errors: int


def hold(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: int) -> Held:
    """Fork a process that will run ``argv`` once released, stdin /dev/null, stdout and stderr to ``log``."""
    gate_read, gate_write = os.pipe()
    errors_read, errors_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(gate_write)
        os.close(errors_read)
        _become(argv, cwd, env, log=log, gate=gate_read, errors=errors_write)
    os.close(gate_read)
    os.close(errors_write)
    return Held(pid, gate_write, errors_read)


def release(held: Held) -> str:
    """Let it run; return "" once it has, or why the command could not be started."""
    try:
        os.write(held.gate, b"g")
    except BrokenPipeError:
        return "it was killed before it started"
    finally:
        os.close(held.gate)
    with os.fdopen(held.errors, "rb") as errors:
        return errors.read().decode(errors="replace")


def _become(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], *, log: int, gate: int, errors: int
) -> None:
    """Turn this child into the command; never returns."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if os.read(gate, 1) == b"g":
            os.chdir(cwd)
            os.execvpe(argv[0], list(argv), dict(env))
    except OSError as error:
        os.write(errors, f"{argv[0]}: {error.strerror}".encode())
    finally:
        os._exit(127)
