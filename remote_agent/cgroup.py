"""The limits of the container that we are in, from cgroup v2 or v1; None for what is not limited."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: What cgroup v1 says for "no limit" is a number near the largest one; no machine has that much.
NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Cgroup:
    """The files of our control group; tests give another root.

    In a container the mount shows our own group at its root, outside of one the group is below it.
    """

    root: Path = Path("/sys/fs/cgroup")
    own: Path = Path("/proc/self/cgroup")

    def memory(self) -> tuple[int, int] | None:
        """Return (used, limit) bytes; page cache that the kernel gives back before it kills is not used."""
        limit, used, cache = (
            self._number("memory", "memory.max", "memory.limit_in_bytes"),
            self._number("memory", "memory.current", "memory.usage_in_bytes"),
            self._keyed("memory", "memory.stat", ("inactive_file", "total_inactive_file")),
        )
        if limit is None or used is None or limit >= NO_LIMIT:
            return None
        return max(used - cache, 0), limit

    def cores(self) -> float | None:
        """Return how many cores' worth of time we may use."""
        text = self._read("cpu", "cpu.max")
        if text is not None:
            quota, _, period = text.strip().partition(" ")
        else:
            quota = (self._read("cpu", "cpu.cfs_quota_us") or "").strip()
            period = (self._read("cpu", "cpu.cfs_period_us") or "").strip()
        if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
            return None  # "max", or -1
        return int(quota) / int(period)

    def cpu_seconds(self) -> float | None:
        """Return the processor time that the group has used so far."""
        microseconds = self._keyed("cpu", "cpu.stat", ("usage_usec",))
        if microseconds:
            return microseconds / 1e6
        nanoseconds = self._number("cpuacct", "cpuacct.usage", "cpuacct.usage")
        return None if nanoseconds is None else nanoseconds / 1e9

    def _read(self, controller: str, name: str) -> str | None:
        for folder in self._folders(controller):
            try:
                return (folder / name).read_text()
            except OSError:
                continue
        return None

    def _folders(self, controller: str) -> list[Path]:
        """Return where the files may be: v2's own group, v2's root, v1's own group, v1's root."""
        try:
            lines = [line.split(":", 2) for line in self.own.read_text().splitlines()]
        except OSError:
            lines = []
        unified = [words[2].strip("/") for words in lines if len(words) == 3 and not words[1]]
        split = [
            words[2].strip("/") for words in lines if len(words) == 3 and controller in words[1].split(",")
        ]
        below = [self.root / path for path in unified if path]
        legacy = [self.root / controller / path for path in split if path]
        return [*below, self.root, *legacy, self.root / controller]

    def _number(self, controller: str, *names: str) -> int | None:
        for name in names:
            text = (self._read(controller, name) or "").strip()
            if text.isdecimal():
                return int(text)
        return None

    def _keyed(self, controller: str, name: str, keys: tuple[str, ...]) -> int:
        for line in (self._read(controller, name) or "").splitlines():
            key, _, value = line.partition(" ")
            if key in keys and value.isdecimal():
                return int(value)
        return 0
