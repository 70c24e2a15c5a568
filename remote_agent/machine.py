"""CPU, memory and disk of this machine or of its container: psutil or /proc, under the limits of a cgroup."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remote_agent.cgroup import Cgroup

KIB = 1024
#: user nice system idle iowait irq softirq steal; guest time is part of user already.
_TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


@dataclass(frozen=True)
class CpuTimes:
    """Processor time so far, over all cores that we may use; the unit is the same for both."""

    busy: float
    total: float


@dataclass(frozen=True)
class Machine:
    """Where the kernel tells; tests give other roots. ``psutil`` is None where it can't be imported."""

    proc: Path = Path("/proc")
    cgroup: Cgroup = field(default_factory=Cgroup)
    psutil: Any = None
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def here(cls) -> Machine:
        """Return the machine that we run on."""
        try:
            import psutil
        except ImportError:
            return cls()
        return cls(psutil=psutil)

    def cpu_times(self) -> CpuTimes | None:
        """Return the time spent so far, None where nobody tells.

        Under a CPU limit it is our own use of what the limit gives, not that of the whole host.
        """
        cores, used = self.cgroup.cores(), self.cgroup.cpu_seconds()
        if cores is not None and used is not None:
            return CpuTimes(busy=used, total=cores * self.clock())
        if self.psutil is not None:
            found = self.psutil.cpu_times()
            times = [float(getattr(found, name, 0.0)) for name in _TIMES]
        else:
            times = self._proc_stat()
        if len(times) < 5:
            return None
        return CpuTimes(busy=sum(times) - times[3] - times[4], total=sum(times))

    def _proc_stat(self) -> list[float]:
        try:
            first = (self.proc / "stat").read_text().split("\n", 1)[0].split()
            return [float(word) for word in first[1:9]]
        except (OSError, ValueError):
            return []

    def memory(self) -> tuple[int, int] | None:
        """Return (used, total) bytes: the container's limit where it has one, else the machine's."""
        host = self._host_memory()
        limited = self.cgroup.memory()
        if limited is None or (host is not None and limited[1] >= host[1]):
            return host
        return limited

    def _host_memory(self) -> tuple[int, int] | None:
        if self.psutil is not None:
            found = self.psutil.virtual_memory()
            return int(found.total - found.available), int(found.total)
        try:
            lines = (self.proc / "meminfo").read_text().splitlines()
            values = {line.partition(":")[0]: int(line.split()[1]) * KIB for line in lines if "kB" in line}
            total = values["MemTotal"]
            return total - values["MemAvailable"], total
        except (OSError, ValueError, KeyError):
            return None

    def cores(self) -> int:
        """Return the cores that we may use, at least 1; a limit of 2.5 cores counts as 3."""
        limit = self.cgroup.cores()
        allowed = _affinity()
        return allowed if limit is None else max(1, min(allowed, math.ceil(limit)))


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def cores() -> int:
    """Return the cores of this machine that we may use, at least 1."""
    return Machine().cores()


def disk(path: Path) -> tuple[int, int] | None:
    """Return (used, total) bytes of the file system that holds ``path``, as df shows them."""
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    return usage.used, usage.total
