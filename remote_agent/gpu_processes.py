"""Which processes hold GPU memory, and which of them a run left behind."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from remote_agent import gpus, nvidia_smi
from remote_agent.gpus import MIB
from remote_agent.identity import Proc
from remote_agent.nvidia_smi import GpuError
from remote_agent.sweep import COOKIE_VARIABLE

#: The driver takes a moment to free the memory of a process that was killed.
RELEASE_LIMIT_S = 5.0
GIB = 1024**3


@dataclass(frozen=True)
class GpuProcess:
    """One process on one GPU; ``used_bytes`` is None where the driver does not say.

    In a container the driver may name a pid of the host, which nobody in the container can see.
    """

    gpu: int
    pid: int
    used_bytes: int | None


def look() -> tuple[GpuProcess, ...]:
    """Return every process that holds memory of a GPU; raises GpuError where nothing can be asked."""
    library, reason = gpus.nvml()
    if library is not None:
        return read_nvml(library)
    if shutil.which("nvidia-smi") is None:
        raise GpuError(f"no NVIDIA driver found ({reason}, no nvidia-smi)")
    return parse(
        nvidia_smi.query("gpu", ("index", "uuid")),
        nvidia_smi.query("compute-apps", ("gpu_uuid", "pid", "used_memory")),
    )


def read_nvml(nvml: Any) -> tuple[GpuProcess, ...]:
    """Ask NVML; raises GpuError when the driver does not answer."""
    try:
        return tuple(
            GpuProcess(index, found.pid, found.usedGpuMemory)
            for index in range(nvml.nvmlDeviceGetCount())
            for found in nvml.nvmlDeviceGetComputeRunningProcesses(nvml.nvmlDeviceGetHandleByIndex(index))
        )
    except nvml.NVMLError as error:
        raise GpuError(f"the NVIDIA driver does not answer: {error}") from error


def parse(gpu_table: str, process_table: str) -> tuple[GpuProcess, ...]:
    """Read the two tables of nvidia-smi."""
    index_of = {row[1]: int(row[0]) for row in nvidia_smi.rows(gpu_table, 2) if row[0].isdecimal()}
    found = []
    for uuid, pid, used in nvidia_smi.rows(process_table, 3):
        mib = nvidia_smi.number(used)
        if uuid in index_of and pid.isdecimal():
            found.append(GpuProcess(index_of[uuid], int(pid), None if mib is None else int(mib * MIB)))
    return tuple(found)


def left_by_run(
    cookie: str,
    before: frozenset[int],
    *,
    others_live: bool,
    proc: Proc,
    look: Callable[[], tuple[GpuProcess, ...]] = look,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[GpuProcess]:
    """Return who still holds GPU memory after a run was swept and was not there ``before`` it.

    Waits a little for the driver to free what it frees by itself. Processes of other runs don't count; while
    such a run lives, a pid that can't be seen is taken for one of its.
    """
    deadline = clock() + RELEASE_LIMIT_S
    while True:
        try:
            found = [
                process
                for process in look()
                if process.pid not in before
                and not _belongs_to_another(process.pid, cookie, others_live=others_live, proc=proc)
            ]
        except GpuError:
            return []
        if not found or clock() >= deadline:
            return found
        sleep(0.25)


def _belongs_to_another(pid: int, cookie: str, *, others_live: bool, proc: Proc) -> bool:
    if proc.stat(pid) is None:
        return others_live
    said = proc.environ(pid).split(b"\0")
    return any(
        entry.startswith(f"{COOKIE_VARIABLE}=".encode()) and entry != f"{COOKIE_VARIABLE}={cookie}".encode()
        for entry in said
    )


def describe(process: GpuProcess, proc: Proc) -> str:
    """Return one phrase: how much, where, who."""
    used = "memory" if process.used_bytes is None else f"{process.used_bytes / GIB:.1f} GiB"
    return f"{used} of GPU {process.gpu} by pid {process.pid} ({name_of(process.pid, proc)})"


def name_of(pid: int, proc: Proc) -> str:
    """Return what a process calls itself."""
    try:
        return (proc.root / str(pid) / "comm").read_text().strip()
    except OSError:
        return "not visible from here: a process of the host"
