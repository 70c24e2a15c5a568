"""What a doctor looks at on the GPUs: the driver, each card, who holds its memory."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from remote_agent import gpu_processes, gpus, nvidia_smi
from remote_agent.finding import Finding, gib
from remote_agent.gpus import GpuError
from remote_agent.identity import Proc
from remote_agent.job_environment import without_peer_to_peer
from remote_agent.listeners import run_of
from remote_agent.protocol import GpuSample

#: Every CUDA 12 wheel of torch runs on it, by CUDA's minor version compatibility.
NEEDED_CUDA = (12, 0)
#: NVIDIA cards slow themselves down a little above this.
HOT_C = 87.0
RESTART = "restart the pod; when it stays, give it back and rent another"


@dataclass(frozen=True)
class Driver:
    """Versions, and per GPU the memory errors since the driver was loaded that could not be corrected."""

    version: str
    cuda: tuple[int, int] | None
    ecc_errors: tuple[int | None, ...] = ()


def findings(proc: Proc) -> list[Finding]:
    """Look at the driver, the cards and their memory."""
    try:
        found = gpus.reader()()
        driver = read_driver()
    except GpuError as error:
        return [_no_gpu(str(error))]
    if not found:
        return [Finding("gpu", "warning", "the driver reports no GPU", "check the pod's GPU count")]
    cards = [_card(gpu, _errors_of(driver, gpu.index)) for gpu in found]
    return [_driver(driver), *cards, *_nccl(found), *_memory_holders(proc)]


def _no_gpu(reason: str) -> Finding:
    if "no NVIDIA driver found" in reason:
        return Finding("gpu", "warning", reason, "only the demo is practical without a GPU")
    return Finding("gpu", "failure", f"the GPU has dropped out: {reason}", RESTART)


def read_driver() -> Driver:
    """Ask NVML, else nvidia-smi; raises GpuError."""
    library, _ = gpus.nvml()
    return read_nvml(library) if library is not None else _read_nvidia_smi()


def read_nvml(nvml: Any) -> Driver:
    """Ask NVML; raises GpuError when the driver does not answer."""
    try:
        version = nvml.nvmlSystemGetDriverVersion()
        cuda = int(nvml.nvmlSystemGetCudaDriverVersion())
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        raise GpuError(f"the NVIDIA driver does not answer: {error}") from error
    text = version.decode() if isinstance(version, bytes) else str(version)
    errors = tuple(_nvml_errors(nvml, index) for index in range(count))
    return Driver(text, (cuda // 1000, cuda % 1000 // 10), errors)


def _nvml_errors(nvml: Any, index: int) -> int | None:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        kind, counter = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
        return int(nvml.nvmlDeviceGetTotalEccErrors(handle, kind, counter))
    except nvml.NVMLError:
        return None  # cards for games have no ECC


def _read_nvidia_smi() -> Driver:
    rows = nvidia_smi.rows(
        nvidia_smi.query("gpu", ("driver_version", "ecc.errors.uncorrected.volatile.total")), 2
    )
    numbers = [nvidia_smi.number(row[1]) for row in rows]
    errors = tuple(None if number is None else int(number) for number in numbers)
    return Driver(rows[0][0] if rows else "unknown", _cuda_of_banner(), errors)


def _cuda_of_banner() -> tuple[int, int] | None:
    if shutil.which("nvidia-smi") is None:
        return None
    try:
        done = subprocess.run(
            ["nvidia-smi"],
            capture_output=True, text=True, timeout=nvidia_smi.NVIDIA_SMI_LIMIT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"CUDA Version:\s*(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _driver(driver: Driver) -> Finding:
    cuda = "unknown" if driver.cuda is None else ".".join(map(str, driver.cuda))
    text = f"driver {driver.version}, for CUDA up to {cuda}"
    if driver.cuda is not None and driver.cuda < NEEDED_CUDA:
        return Finding(
            "driver", "failure", text, "torch needs CUDA 12: rent a pod whose host has driver 525 or later"
        )
    return Finding("driver", "ok", text)


def _errors_of(driver: Driver, index: int) -> int | None:
    return driver.ecc_errors[index] if index < len(driver.ecc_errors) else None


def _card(gpu: GpuSample, ecc_errors: int | None) -> Finding:
    heat = "" if gpu.temp_c is None else f", {gpu.temp_c:.0f} °C"
    text = f"GPU {gpu.index}: {gpu.name}, {gib(gpu.vram_total_bytes)} VRAM{heat}"
    if ecc_errors:
        return Finding(
            "gpu", "failure", f"{text}, {ecc_errors} memory errors that ECC could not correct", RESTART
        )
    if gpu.temp_c is not None and gpu.temp_c >= HOT_C:
        return Finding("gpu", "warning", text, "it is hot and slows itself down: rent another machine")
    return Finding("gpu", "ok", text)


def _nccl(found: tuple[GpuSample, ...]) -> list[Finding]:
    names = without_peer_to_peer([gpu.name for gpu in found])
    if not names:
        return []
    text = f"{', '.join(names)} has no peer-to-peer: runs get NCCL_P2P_DISABLE=1 and NCCL_IB_DISABLE=1"
    return [Finding("nccl", "ok", text)]


def _memory_holders(proc: Proc) -> list[Finding]:
    try:
        processes = gpu_processes.look()
    except GpuError as error:
        return [Finding("gpu memory", "warning", f"who holds it is not known: {error}")]
    return [_holder(process, proc) for process in processes]


def _holder(process: gpu_processes.GpuProcess, proc: Proc) -> Finding:
    text = gpu_processes.describe(process, proc)
    run = run_of(process.pid, proc)
    if run:
        return Finding("gpu memory", "ok", f"{text}, run {run}")
    if proc.stat(process.pid) is None:
        remedy = (
            "it can be a run's own, as the driver counts the host's processes; when none runs, " + RESTART
        )
        return Finding("gpu memory", "warning", text, remedy)
    return Finding(
        "gpu memory", "warning", f"{text}, of no run", f"if nobody needs it: kill -9 {process.pid}"
    )
