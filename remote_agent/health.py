"""What a doctor would want to know of this machine; each finding with what to do about it."""

from __future__ import annotations

import platform
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote_agent import gpus, listeners, machine
from remote_agent.machine import Machine
from remote_agent.places import Places

GIB = 1024**3
#: A small model's environment is 6 GB and one checkpoint of 7 B parameters with optimizer state 84 GB.
WARN_FREE_DISK = 20 * GIB
FAIL_FREE_DISK = 2 * GIB
#: Data loaders and NCCL exchange tensors in /dev/shm; containers default to 64 MB.
WARN_SHM = GIB
WARN_OPEN_FILES = 4096
WARN_RAM = 8 * GIB


@dataclass(frozen=True)
class Finding:
    """One line of the doctor; ``level`` is ok, warning or failure."""

    name: str
    level: str
    text: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as sent."""
        return {"name": self.name, "level": self.level, "text": self.text, "remedy": self.remedy}


def findings(places: Places) -> list[Finding]:
    """Look at everything; takes up to some seconds where the driver is slow."""
    looks: tuple[Callable[[Places], list[Finding]], ...] = (
        _python,
        _gpus,
        _disk,
        _memory,
        _shm,
        _open_files,
        _environments,
        _listeners,
        _clock,
    )
    return [finding for look in looks for finding in look(places)]


def _python(places: Places) -> list[Finding]:
    text = f"Python {platform.python_version()} at {sys.executable}, {platform.system()} {platform.machine()}"
    return [Finding("python", "ok", text)]


def _gpus(places: Places) -> list[Finding]:
    try:
        found = gpus.reader()()
    except gpus.GpuError as error:
        return [Finding("gpu", "warning", str(error), "only the demo is practical without a GPU")]
    if not found:
        return [Finding("gpu", "warning", "the driver reports no GPU", "check the pod's GPU count")]
    return [
        Finding("gpu", "ok", f"GPU {gpu.index}: {gpu.name}, {_gib(gpu.vram_total_bytes)} VRAM")
        for gpu in found
    ]


def _disk(places: Places) -> list[Finding]:
    try:
        free = shutil.disk_usage(places.state).free
    except OSError as error:
        return [Finding("disk", "failure", f"{places.state}: {error.strerror}", "check the volume")]
    text = f"{_gib(free)} free at {places.state}"
    remedy = "delete old runs (finetui delete RUN) or use a larger volume"
    if free < FAIL_FREE_DISK:
        return [Finding("disk", "failure", text, remedy)]
    if free < WARN_FREE_DISK:
        return [Finding("disk", "warning", text, remedy)]
    return [Finding("disk", "ok", text)]


def _memory(places: Places) -> list[Finding]:
    memory = Machine().memory()
    if memory is None:
        return [Finding("memory", "warning", "unknown: there is no /proc/meminfo")]
    used, total = memory
    text = f"{_gib(total - used)} of {_gib(total)} RAM free, {machine.cores()} cores"
    if total < WARN_RAM:
        return [Finding("memory", "warning", text, "loading a 7B model needs about 16 GiB")]
    return [Finding("memory", "ok", text)]


def _shm(places: Places) -> list[Finding]:
    space = machine.disk(Path("/dev/shm"))
    if space is None:
        return [Finding("shm", "warning", "there is no /dev/shm", "NCCL may fail with several GPUs")]
    text = f"/dev/shm has {_gib(space[1])}"
    if space[1] < WARN_SHM:
        return [Finding("shm", "warning", text, "start the container with --shm-size=1g or more")]
    return [Finding("shm", "ok", text)]


def _open_files(places: Places) -> list[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{soft} open files allowed"
    if soft != resource.RLIM_INFINITY and soft < WARN_OPEN_FILES:
        return [Finding("ulimit", "warning", text, f"raise it: ulimit -n {WARN_OPEN_FILES}")]
    return [Finding("ulimit", "ok", text)]


def _environments(places: Places) -> list[Finding]:
    try:
        names = sorted(entry.name for entry in places.environments.iterdir() if entry.is_dir())
    except FileNotFoundError:
        names = []
    text = ", ".join(names) if names else "none yet: the first run of a trainer builds one"
    return [Finding("environments", "ok", text)]


def _listeners(places: Places) -> list[Finding]:
    found = listeners.of_runs()
    if not found:
        return [Finding("listeners", "ok", "nothing that finetui started listens")]
    return [_listener(entry) for entry in found]


def _listener(entry: listeners.Listener) -> Finding:
    text = f"{entry.address}:{entry.port}, pid {entry.pid}, run {entry.run}"
    if entry.is_loopback:
        return Finding("listeners", "ok", text)
    remedy = "torch's rendezvous binds every interface whatever it is told; do not map this port on the pod"
    return Finding("listeners", "warning", text, remedy)


def _clock(places: Places) -> list[Finding]:
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return [Finding("clock", "ok", f"{text}; hello carries it, so the laptop can tell the difference")]


def _gib(count: int | None) -> str:
    return "unknown" if count is None else f"{count / GIB:.1f} GiB"
