"""Who a process is: pid + start ticks + boot, as pids are reused; and signals that can't hit a stranger."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Identity:
    """One process for ever; ``start_ticks`` is field 22 of /proc/PID/stat, in clock ticks since boot."""

    pid: int
    start_ticks: int
    boot: str

    def to_json(self) -> dict[str, Any]:
        """Return it as stored in proc.json."""
        return {"pid": self.pid, "start_ticks": self.start_ticks, "boot": self.boot}

    @classmethod
    def from_json(cls, value: object) -> Identity | None:
        """Read what ``to_json`` wrote; None for anything else."""
        if not isinstance(value, dict):
            return None
        pid, ticks, boot = value.get("pid"), value.get("start_ticks"), value.get("boot")
        if type(pid) is not int or pid <= 0 or type(ticks) is not int or not isinstance(boot, str):
            return None
        return cls(pid, ticks, boot)


@dataclass(frozen=True)
class Stat:
    """The part of /proc/PID/stat that we need."""

    state: str
    parent: int
    start_ticks: int


@dataclass(frozen=True)
class Proc:
    """A /proc to ask; tests give it another root."""

    root: Path = Path("/proc")

    def boot(self) -> str:
        """Name this boot of this container: the kernel's id alone survives a container restart."""
        try:
            kernel = (self.root / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            kernel = "unknown"
        try:
            namespace = (self.root / "self/ns/pid").stat().st_ino
        except OSError:
            namespace = 0
        first = self.stat(1)
        return f"{kernel}.{namespace}.{first.start_ticks if first else 0}"

    def stat(self, pid: int) -> Stat | None:
        """Return what the kernel says of ``pid``, None when there is no such process."""
        try:
            text = (self.root / str(pid) / "stat").read_bytes().decode("ascii", "replace")
        except OSError:
            return None
        # The name is in parentheses and may hold spaces and parentheses itself.
        words = text[text.rfind(")") + 1 :].split()
        try:
            return Stat(state=words[0], parent=int(words[1]), start_ticks=int(words[19]))
        except (IndexError, ValueError):
            return None

    def pids(self) -> Iterator[int]:
        """Yield every pid that can be seen."""
        for entry in self.root.iterdir():
            if entry.name.isdecimal():
                yield int(entry.name)

    def identify(self, pid: int) -> Identity | None:
        """Return the identity of a living process, None when it is gone or a zombie."""
        found = self.stat(pid)
        if found is None or found.state in "ZX":
            return None
        return Identity(pid, found.start_ticks, self.boot())

    def alive(self, identity: Identity | None) -> bool:
        """Say whether that very process still runs; zombies don't."""
        return identity is not None and self.identify(identity.pid) == identity

    def environ(self, pid: int) -> bytes:
        """Return the start environment of ``pid``, empty when it is gone or another user's."""
        try:
            return (self.root / str(pid) / "environ").read_bytes()
        except OSError:
            return b""


def send(identity: Identity | None, number: signal.Signals, proc: Proc) -> bool:
    """Signal that very process; False when it is gone or not ours.

    The pidfd is opened before the identity is compared, so the pid can't be reused in between. Kernels and
    sandboxes without pidfd get compare-then-kill.
    """
    if identity is None:
        return False
    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return False
        return proc.alive(identity) and _kill(identity.pid, number)
    try:
        if not proc.alive(identity):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(descriptor)
    return True


def _kill(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
