"""The machine now: GPUs, CPU, memory, disk; one sampler for all who look, none while nobody does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from remote_agent import gpus, machine
from remote_agent.machine import CpuTimes, Machine
from remote_agent.places import Places
from remote_agent.protocol import GpuSample, Sample, to_wire

MIN_EVERY_S = 0.5
#: After a failed look for GPUs: nvidia-smi can take seconds to fail.
GPU_RETRY_S = 30.0

Listener = Callable[[dict[str, Any]], None]


class Sampler:
    """Takes samples; CPU utilisation is that since the sample before."""

    def __init__(
        self,
        places: Places,
        *,
        kernel: Machine | None = None,
        find_gpus: Callable[[], Callable[[], tuple[GpuSample, ...]]] = gpus.reader,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = places
        self._kernel = kernel or Machine.here()
        self._find_gpus = find_gpus
        self._clock = clock
        self._before: CpuTimes | None = None
        self._read_gpus: Callable[[], tuple[GpuSample, ...]] | None = None
        self._gpu_retry = clock()
        self._gpu_missing = ""

    def sample(self) -> Sample:
        """Look once; may take seconds where the driver is slow."""
        missing = []
        cpu = self._cpu_percent()
        memory = self._kernel.memory()
        if memory is None:
            missing.append("memory: this system has no /proc/meminfo")
        space = machine.disk(self._places.state)
        if space is None:
            missing.append(f"disk: {self._places.state} can't be asked")
        found = self._gpus()
        if self._gpu_missing:
            missing.append(f"GPU: {self._gpu_missing}")
        if self._before is None:
            missing.append("CPU: this system has no /proc/stat")
        return Sample(
            at=time.time(),
            cpu_percent=cpu,
            cores=self._kernel.cores(),
            ram_used_bytes=memory[0] if memory else None,
            ram_total_bytes=memory[1] if memory else None,
            disk_used_bytes=space[0] if space else None,
            disk_total_bytes=space[1] if space else None,
            gpus=found,
            missing=tuple(missing),
        )

    def _cpu_percent(self) -> float | None:
        before, now = self._before, self._kernel.cpu_times()
        self._before = now
        if before is None or now is None or now.total <= before.total:
            return None
        share = (now.busy - before.busy) / (now.total - before.total)
        return round(min(max(100.0 * share, 0.0), 100.0), 1)

    def _gpus(self) -> tuple[GpuSample, ...]:
        if self._read_gpus is None and self._clock() < self._gpu_retry:
            return ()
        try:
            if self._read_gpus is None:
                self._read_gpus = self._find_gpus()
            found = self._read_gpus()
        except gpus.GpuError as error:
            self._read_gpus = None
            self._gpu_retry = self._clock() + GPU_RETRY_S
            self._gpu_missing = str(error)
            return ()
        self._gpu_missing = "" if found else "the driver reports no GPU"
        return found


class SampleFeed:
    """One sampler for all subscribers, as fast as the most demanding of them asks."""

    def __init__(self, places: Places) -> None:
        self._sampler = Sampler(places)
        self._listeners: dict[Listener, float] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, listener: Listener, every_s: float) -> None:
        """Call ``listener`` with a sample every ``every_s`` seconds, at least 0.5."""
        self._listeners[listener] = max(every_s, MIN_EVERY_S)
        # Anew, so that the first sample comes at once and a faster listener need not wait for a slow turn.
        self._stop()
        self._task = asyncio.create_task(self._follow())

    def remove(self, listener: Listener) -> None:
        """Stop calling ``listener``; sampling ends with the last one."""
        self._listeners.pop(listener, None)
        if not self._listeners:
            self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _follow(self) -> None:
        due = dict.fromkeys(self._listeners, 0.0)
        while self._listeners:
            wire = to_wire(await asyncio.to_thread(self._sampler.sample))
            now = time.monotonic()
            for listener, every_s in list(self._listeners.items()):
                if due.get(listener, 0.0) <= now:
                    due[listener] = now + every_s - MIN_EVERY_S / 10
                    listener(wire)
            await asyncio.sleep(min(self._listeners.values(), default=MIN_EVERY_S))
