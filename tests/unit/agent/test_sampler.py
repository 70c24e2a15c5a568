from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from remote_agent import gpus
from remote_agent.cgroup import Cgroup
from remote_agent.gpus import GpuError
from remote_agent.machine import Machine
from remote_agent.places import Places
from remote_agent.protocol import GpuSample
from remote_agent.sampler import GPU_RETRY_S, Sampler

MIB = 1024**2


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "state").mkdir()
    return Places(tmp_path / "state", tmp_path / "runtime", tmp_path / "environments")


@pytest.fixture
def kernel(tmp_path: Path) -> Machine:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    cgroup.mkdir()
    (proc / "stat").write_text("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1 1 1\n")
    (proc / "meminfo").write_text(
        "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\nHugePages_Total: 0\n"
    )
    return Machine(proc, Cgroup(cgroup, tmp_path / "own"))


def no_gpus() -> Callable[[], tuple[GpuSample, ...]]:
    raise GpuError("no NVIDIA driver found")


def test_cpu_is_the_share_since_the_sample_before(places: Places, kernel: Machine) -> None:
    sampler = Sampler(places, kernel=kernel, find_gpus=no_gpus)
    assert sampler.sample().cpu_percent is None
    (kernel.proc / "stat").write_text("cpu  150 0 125 825 0 0 0 0 0 0\n")
    assert sampler.sample().cpu_percent == 75.0


def test_memory_is_the_machines_without_a_limit(kernel: Machine) -> None:
    (kernel.cgroup.root / "memory.max").write_text("max\n")
    assert kernel.memory() == (600 * 1024, 1000 * 1024)


def write_v2(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "memory.max").write_text("500000\n")
    (root / "memory.current").write_text("300000\n")
    (root / "memory.stat").write_text("anon 1\ninactive_file 100000\n")
    (root / "cpu.max").write_text("250000 100000\n")
    (root / "cpu.stat").write_text("usage_usec 10000000\nuser_usec 1\n")


def write_v1(root: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": "500000",
        "memory/memory.usage_in_bytes": "300000",
        "memory/memory.stat": "cache 1\ntotal_inactive_file 100000",
        "cpu/cpu.cfs_quota_us": "250000",
        "cpu/cpu.cfs_period_us": "100000",
        "cpuacct/cpuacct.usage": "10000000000",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")


@pytest.mark.parametrize("write", [write_v2, write_v1])
def test_a_containers_limits_count(kernel: Machine, write: Callable[[Path], None]) -> None:
    write(kernel.cgroup.root)
    assert kernel.memory() == (200000, 500000)
    assert kernel.cgroup.cores() == 2.5
    assert 1 <= kernel.cores() <= 3


def test_the_group_below_the_mount_is_ours_outside_a_container(kernel: Machine) -> None:
    kernel.cgroup.own.write_text("0::/user.slice/finetui.scope\n")
    write_v2(kernel.cgroup.root / "user.slice" / "finetui.scope")
    assert kernel.memory() == (200000, 500000)


def test_no_limit_in_the_words_of_either_version(kernel: Machine) -> None:
    (kernel.cgroup.root / "cpu.max").write_text("max 100000\n")
    (kernel.cgroup.root / "memory").mkdir()
    (kernel.cgroup.root / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (kernel.cgroup.root / "memory" / "memory.usage_in_bytes").write_text("1\n")
    assert kernel.cgroup.cores() is None
    assert kernel.memory() == (600 * 1024, 1000 * 1024)


def test_under_a_cpu_limit_the_share_is_that_of_the_limit(places: Places, kernel: Machine) -> None:
    now = 100.0
    limited = replace(kernel, clock=lambda: now)
    write_v2(limited.cgroup.root)
    sampler = Sampler(places, kernel=limited, find_gpus=no_gpus)
    assert sampler.sample().cpu_percent is None
    (limited.cgroup.root / "cpu.stat").write_text("usage_usec 15000000\n")
    now = 104.0
    assert sampler.sample().cpu_percent == 50.0, "5 s used of 4 s times 2.5 cores"


def test_psutil_and_proc_agree(tmp_path: Path) -> None:
    cgroup = Cgroup(tmp_path / "none", tmp_path / "none")
    plain, rich = Machine(cgroup=cgroup), Machine(cgroup=cgroup, psutil=psutil)
    from_proc, from_psutil = plain.memory(), rich.memory()
    assert from_proc is not None
    assert from_psutil is not None
    assert from_proc[1] == from_psutil[1]
    ticks, seconds = plain.cpu_times(), rich.cpu_times()
    assert ticks is not None
    assert seconds is not None
    assert ticks.total / 100 == pytest.approx(seconds.total, rel=0.01)
    assert ticks.busy / 100 == pytest.approx(seconds.busy, rel=0.05)


def test_what_cannot_be_shown_is_said(places: Places, tmp_path: Path) -> None:
    nothing = Machine(tmp_path / "no-proc", Cgroup(tmp_path / "no-cgroup", tmp_path / "no-own"))
    sample = Sampler(places, kernel=nothing, find_gpus=no_gpus).sample()
    assert [text.partition(":")[0] for text in sample.missing] == ["memory", "GPU", "CPU"]
    assert "no NVIDIA driver found" in sample.missing[1]
    assert sample.disk_total_bytes


def test_gpus_are_looked_for_again_after_a_while(places: Places, kernel: Machine) -> None:
    answers = [no_gpus, lambda: lambda: (GpuSample(0, "H200"),)]
    now = 0.0

    def find() -> Callable[[], tuple[GpuSample, ...]]:
        return answers.pop(0)()

    sampler = Sampler(places, kernel=kernel, find_gpus=find, clock=lambda: now)
    assert sampler.sample().gpus == ()
    assert sampler.sample().missing, "still said while nobody looks again"
    now = GPU_RETRY_S
    assert sampler.sample().gpus == (GpuSample(0, "H200"),)
    assert sampler.sample().missing == ()


def test_nvidia_smi_output() -> None:
    text = (
        "0, NVIDIA H200, 97, 1024, 143771, 45, 612.34, 700.00\n"
        "1, Tesla T4, [N/A], 0, 15360, 30, [N/A], [N/A]\n\nnoise"
    )
    first, second = gpus.parse_nvidia_smi(text)
    assert first == GpuSample(0, "NVIDIA H200", 97.0, 1024 * MIB, 143771 * MIB, 45.0, 612.34, 700.0)
    assert second == GpuSample(1, "Tesla T4", None, 0, 15360 * MIB, 30.0, None, None)


class FakeNvml:
    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"NVIDIA H200"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(used=5, total=10)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=42)

    def nvmlDeviceGetTemperature(self, handle: int, kind: int) -> int:
        raise self.NVMLError("not supported")

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return 350_500

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return 700_000


def test_nvml_answers_in_our_units_and_none_where_it_has_none() -> None:
    assert gpus.read_nvml(FakeNvml()) == (GpuSample(0, "NVIDIA H200", 42.0, 5, 10, None, 350.5, 700.0),)


def test_a_driver_that_went_away_is_one_error() -> None:
    class Gone(FakeNvml):
        def nvmlDeviceGetCount(self) -> int:
            raise self.NVMLError("GPU is lost")

    with pytest.raises(GpuError, match="GPU is lost"):
        gpus.read_nvml(Gone())
