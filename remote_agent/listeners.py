"""Which TCP ports the processes of runs listen on, from /proc."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

from remote_agent.identity import Proc

_COOKIE = re.compile(rb"(?:^|\0)FINETUI_COOKIE=([0-9A-Za-z_-]+)")
_LISTEN = "0A"


@dataclass(frozen=True)
class Listener:
    """One listening socket of a run's process."""

    address: str
    port: int
    pid: int
    run: str

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback


def of_runs(proc: Proc | None = None) -> list[Listener]:
    """Return the listeners of every process that carries a run's cookie."""
    proc = proc or Proc()
    sockets = {**_listening(proc.root / "net/tcp"), **_listening(proc.root / "net/tcp6")}
    found = []
    for pid in proc.pids():
        run = run_of(pid, proc)
        if not run:
            continue
        found += [Listener(*sockets[inode], pid, run) for inode in _sockets(proc, pid) if inode in sockets]
    return sorted(found, key=lambda listener: (listener.run, listener.port))


def run_of(pid: int, proc: Proc) -> str:
    """Return the run whose cookie a process carries, "" for any other process."""
    cookie = _COOKIE.search(proc.environ(pid))
    return cookie.group(1).decode().partition(".")[0] if cookie else ""


def _listening(table: Path) -> dict[int, tuple[str, int]]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return {}
    found = {}
    for words in (line.split() for line in lines):
        if len(words) > 9 and words[3] == _LISTEN:
            address, _, port = words[1].partition(":")
            found[int(words[9])] = (_address(address), int(port, 16))
    return found


def _address(text: str) -> str:
    """Turn the kernel's hexadecimal (32-bit words in host order) into an address."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _sockets(proc: Proc, pid: int) -> list[int]:
    inodes = []
    try:
        for descriptor in (proc.root / str(pid) / "fd").iterdir():
            target = os.readlink(descriptor)  # noqa: PTH115 - "socket:[N]" is no path
            if target.startswith("socket:["):
                inodes.append(int(target[8:-1]))
    except OSError:
        pass  # the process has ended
    return inodes
