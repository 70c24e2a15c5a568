"""CPU, memory and disk of this machine, or of the container that it is, from /proc and cgroup v2."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

KIB = 1024


@dataclass(frozen=True)
class CpuTimes:
    """Clock ticks since boot, over all cores."""

    busy: int
    total: int


@dataclass(frozen=True)
class Machine:
    """Where the kernel tells; tests give other roots."""

    proc: Path = Path("/proc")
    cgroup: Path = Path("/sys/fs/cgroup")

    def cpu_times(self) -> CpuTimes | None:
        """Return the ticks spent so far, None where there is no /proc/stat."""
        try:
            first = (self.proc / "stat").read_text().split("\n", 1)[0].split()
            ticks = [int(word) for word in first[1:9]]
        except (OSError, ValueError):
            return None
        if len(ticks) < 5:
            return None
        # user nice system idle iowait irq softirq steal
        return CpuTimes(busy=sum(ticks) - ticks[3] - ticks[4], total=sum(ticks))

    def memory(self) -> tuple[int, int] | None:
        """Return (used, total) bytes: the container's limit where it has one, else the machine's."""
        limit = self._cgroup_number("memory.max")
        current = self._cgroup_number("memory.current")
        host = self._host_memory()
        if limit is None or current is None or (host is not None and limit >= host[1]):
            return host
        return max(current - self._reclaimable(), 0), limit

    def _host_memory(self) -> tuple[int, int] | None:
        try:
            lines = (self.proc / "meminfo").read_text().splitlines()
            values = {line.partition(":")[0]: int(line.split()[1]) * KIB for line in lines if "kB" in line}
            total = values["MemTotal"]
            return total - values["MemAvailable"], total
        except (OSError, ValueError, KeyError):
            return None

    def _cgroup_number(self, name: str) -> int | None:
        try:
            return int((self.cgroup / name).read_text())
        except (OSError, ValueError):
            return None  # no cgroup v2 here, or the word "max"

    def _reclaimable(self) -> int:
        """Page cache that the kernel gives back before it kills anybody."""
        try:
            for line in (self.cgroup / "memory.stat").read_text().splitlines():
                if line.startswith("inactive_file "):
                    return int(line.split()[1])
        except (OSError, ValueError):
            pass
        return 0


def cores() -> int:
    """Return the cores that we may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def disk(path: Path) -> tuple[int, int] | None:
    """Return (used, total) bytes of the file system that holds ``path``."""
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    return usage.used, usage.total
