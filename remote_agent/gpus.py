"""What each NVIDIA GPU does: through NVML where its Python binding is installed, else through nvidia-smi."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from remote_agent import nvidia_smi
from remote_agent.nvidia_smi import GpuError
from remote_agent.protocol import GpuSample

__all__ = ["GpuError", "parse_nvidia_smi", "read_nvidia_smi", "read_nvml", "reader"]

MIB = 1024 * 1024
_FIELDS = (
    "index",
    "name",
    "utilization.gpu",
    "memory.used",
    "memory.total",
    "temperature.gpu",
    "power.draw",
    "power.limit",
)


def reader() -> Callable[[], tuple[GpuSample, ...]]:
    """Return the best way to read the GPUs here; raises GpuError when there is none."""
    library, reason = nvml()
    if library is not None:
        return lambda: read_nvml(library)
    if shutil.which("nvidia-smi") is None:
        raise GpuError(f"no NVIDIA driver found ({reason}, no nvidia-smi)")
    read_nvidia_smi()
    return read_nvidia_smi


def nvml() -> tuple[Any, str]:
    """Return the started NVML binding, or None and why there is none."""
    try:
        import pynvml
    except ImportError:
        return None, "no pynvml"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, str(error)
    return pynvml, ""


def read_nvml(nvml: Any) -> tuple[GpuSample, ...]:
    """Read every GPU; raises GpuError when the driver does not answer."""
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return tuple(_read_device(nvml, index, handle) for index, handle in enumerate(handles))
    except nvml.NVMLError as error:
        raise GpuError(f"the NVIDIA driver does not answer: {error}") from error


def _read_device(nvml: Any, index: int, handle: Any) -> GpuSample:
    def ask(query: Callable[[], Any]) -> Any:
        try:
            return query()
        except nvml.NVMLError:
            return None  # not every card answers every question

    name = ask(lambda: nvml.nvmlDeviceGetName(handle)) or ""
    memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    utilisation = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    return GpuSample(
        index=index,
        name=name.decode() if isinstance(name, bytes) else name,
        util_percent=float(utilisation.gpu) if utilisation else None,
        vram_used_bytes=memory.used if memory else None,
        vram_total_bytes=memory.total if memory else None,
        temp_c=_number(ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))),
        power_w=_number(ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle)), 1e-3),
        power_limit_w=_number(ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle)), 1e-3),
    )


def read_nvidia_smi() -> tuple[GpuSample, ...]:
    """Ask nvidia-smi; raises GpuError when it fails or does not answer in time."""
    return parse_nvidia_smi(nvidia_smi.query("gpu", _FIELDS))


def parse_nvidia_smi(text: str) -> tuple[GpuSample, ...]:
    """Read the CSV of nvidia-smi; "[N/A]" and the like become None."""
    samples = []
    for row in nvidia_smi.rows(text, len(_FIELDS)):
        if not row[0].isdecimal():
            continue
        util, used, total, temperature, power, limit = (nvidia_smi.number(cell) for cell in row[2:])
        samples.append(
            GpuSample(
                index=int(row[0]),
                name=row[1],
                util_percent=util,
                vram_used_bytes=None if used is None else int(used * MIB),
                vram_total_bytes=None if total is None else int(total * MIB),
                temp_c=temperature,
                power_w=power,
                power_limit_w=limit,
            )
        )
    return tuple(samples)


def _number(value: Any, scale: float = 1.0) -> float | None:
    return None if value is None else float(value) * scale
