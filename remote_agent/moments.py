"""Points in time that no step of the wall clock moves, and that survive the process that noted them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Moment:
    """Seconds since the boot of one kernel, and the wall clock for display and for after a reboot."""

    boottime_s: float
    kernel: str
    wall: float

    def to_json(self) -> dict[str, Any]:
        """Return it as stored."""
        return {"boottime_s": self.boottime_s, "kernel": self.kernel, "wall": self.wall}

    @classmethod
    def from_json(cls, value: object) -> Moment | None:
        """Read what ``to_json`` wrote; None for anything else."""
        if not isinstance(value, dict):
            return None
        boottime, kernel, wall = value.get("boottime_s"), value.get("kernel"), value.get("wall")
        if not isinstance(kernel, str) or not all(isinstance(at, int | float) for at in (boottime, wall)):
            return None
        return cls(float(boottime), kernel, float(wall))  # type: ignore[arg-type]

    def since(self, earlier: Moment) -> float:
        """Return the seconds since ``earlier``, time asleep included; never negative."""
        if self.kernel == earlier.kernel:
            return max(0.0, self.boottime_s - earlier.boottime_s)
        return max(0.0, self.wall - earlier.wall)


def now() -> Moment:
    """Return this moment."""
    try:
        kernel = _BOOT_ID.read_text().strip()
    except OSError:
        kernel = "unknown"
    return Moment(time.clock_gettime(time.CLOCK_BOOTTIME), kernel, time.time())
