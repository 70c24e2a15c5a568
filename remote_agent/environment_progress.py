"""What an installer says, turned into a progress that people can follow."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DOWNLOADING = re.compile(r"\s*Downloading (\S+) \(([\d.]+)(B|KiB|MiB|GiB)\)")
_DOWNLOADED = re.compile(r"\s*Downloaded (\S+)")
_BUILDING = re.compile(r"\s*(?:Building|Collecting) (\S+)")
_PREPARED = re.compile(r"\s*(?:Prepared \d+ packages?|Installing collected packages)")
#: uv says nothing while a large wheel comes in; the bytes on disk show that it does.
LOOK_EVERY_S = 1.0
TAIL_LINES = 40


@dataclass
class InstallProgress:
    """Follows the lines of uv (or pip); sizes in bytes, of the compressed wheels as announced."""

    announced: dict[str, int] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    now: str = ""

    def feed(self, line: str) -> None:
        """Take one line of the installer's output."""
        if found := _DOWNLOADING.match(line):
            self.announced[found[1]] = int(float(found[2]) * _UNITS[found[3]])
        elif found := _DOWNLOADED.match(line):
            self.finished.add(found[1])
        elif found := _BUILDING.match(line):
            self.now = f"building {found[1]}"
        elif _PREPARED.match(line):
            self.now = "copying files into the environment"

    @property
    def done_bytes(self) -> int:
        """Bytes of the downloads that are complete."""
        return sum(size for name, size in self.announced.items() if name in self.finished)

    @property
    def total_bytes(self) -> int:
        """Bytes of all downloads announced so far; small wheels are not announced."""
        return sum(self.announced.values())

    def detail(self, unpacked_bytes: int = 0) -> str:
        """Say what is going on; ``unpacked_bytes`` are those on disk of downloads that are not complete."""
        waiting = sorted(self.announced.keys() - self.finished, key=lambda name: -self.announced[name])
        if not waiting:
            return self.now
        more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        growing = f", {unpacked_bytes / 1e6:.0f} MB unpacked so far" if unpacked_bytes else ""
        return f"downloading {waiting[0]}{more}{growing}"


def incoming_bytes(cache: Path) -> int:
    """Return the size of what uv is unpacking at this moment, in bytes."""
    return sum(_tree_bytes(folder) for folder in cache.glob(".tmp*"))


def _tree_bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def run_followed(
    command: list[str],
    environ: Mapping[str, str],
    on_line: Callable[[str], None],
    on_tick: Callable[[], None],
    *,
    every_s: float = LOOK_EVERY_S,
) -> tuple[int, list[str]]:
    """Run a command, hand each line of its output on, and call ``on_tick`` about every ``every_s`` seconds.

    Returns the exit code and the last lines; raises OSError when it can't be started. However this ends, the
    command ends with it.
    """
    tail: list[str] = []
    process = subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        for line in _lines(process.stdout.fileno(), on_tick, every_s):
            tail = [*tail[1 - TAIL_LINES :], line]
            on_line(line)
        return process.wait(), tail
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        process.stdout.close()


def _lines(descriptor: int, on_tick: Callable[[], None], every_s: float):  # type: ignore[no-untyped-def]
    pending = b""
    due = time.monotonic() + every_s
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if selector.select(max(0.0, due - time.monotonic())):
                data = os.read(descriptor, 65536)
                if not data:
                    break
                *whole, pending = (pending + data).split(b"\n")
                for line in whole:
                    yield line.decode("utf-8", "replace").rstrip("\r")
            if time.monotonic() >= due:
                due = time.monotonic() + every_s
                on_tick()
    if pending:
        yield pending.decode("utf-8", "replace")
