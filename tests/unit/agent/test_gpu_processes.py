from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from remote_agent import gpu_processes
from remote_agent.gpu_processes import GpuProcess, left_by_run
from remote_agent.identity import Proc
from remote_agent.nvidia_smi import GpuError

GIB = 1024**3


def process(root: Path, pid: int, cookie: str = "") -> None:
    """Add a process to a fake /proc."""
    folder = root / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} (python) S 1 " + "0 " * 30)
    (folder / "environ").write_bytes(f"A=1\0FINETUI_COOKIE={cookie}\0".encode() if cookie else b"A=1\0")
    (folder / "comm").write_text("python\n")


def left(
    root: Path, found: list[tuple[GpuProcess, ...]], *, before: set[int] = frozenset(), others: bool = False
) -> list[int]:
    """Return the pids that are reported; each look takes the next answer, the last one stays."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    held = left_by_run(
        "r1.abc",
        frozenset(before),
        others_live=others,
        proc=Proc(root),
        look=lambda: found.pop(0) if len(found) > 1 else found[0],
        clock=lambda: now,
        sleep=sleep,
    )
    return [entry.pid for entry in held]


def test_a_survivor_of_the_run_is_reported(tmp_path: Path) -> None:
    process(tmp_path, 7, "r1.abc")
    assert left(tmp_path, [(GpuProcess(0, 7, GIB),)]) == [7]


def test_memory_that_the_driver_frees_a_moment_later_is_not(tmp_path: Path) -> None:
    assert left(tmp_path, [(GpuProcess(0, 7, GIB),), ()]) == []


def test_the_processes_of_another_run_are_not(tmp_path: Path) -> None:
    process(tmp_path, 8, "r2.def")
    assert left(tmp_path, [(GpuProcess(0, 8, GIB),)]) == []


@pytest.mark.parametrize(("others", "reported"), [(False, [999]), (True, [])])
def test_a_pid_of_the_host_counts_only_while_no_other_run_lives(
    tmp_path: Path, others: bool, reported: list[int]
) -> None:
    assert left(tmp_path, [(GpuProcess(0, 999, GIB),)], others=others) == reported


def test_a_driver_that_does_not_answer_is_no_leftover(tmp_path: Path) -> None:
    def fails() -> tuple[GpuProcess, ...]:
        raise GpuError("GPU is lost")

    held = left_by_run("r1.abc", frozenset(), others_live=False, proc=Proc(tmp_path), look=fails)
    assert held == []


def test_the_tables_of_nvidia_smi() -> None:
    gpus = "0, GPU-aa\n1, GPU-bb\nnoise\n"
    apps = "GPU-bb, 4242, 20480\nGPU-aa, 17, [N/A]\nGPU-zz, 1, 1\n"
    assert gpu_processes.parse(gpus, apps) == (GpuProcess(1, 4242, 20 * GIB), GpuProcess(0, 17, None))


class FakeNvml:
    class NVMLError(Exception):
        pass

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=40 + handle, usedGpuMemory=handle * GIB or None)]


def test_nvml_names_them_too() -> None:
    assert gpu_processes.read_nvml(FakeNvml()) == (GpuProcess(0, 40, None), GpuProcess(1, 41, GIB))


def test_a_process_is_described_by_what_where_and_who(tmp_path: Path) -> None:
    process(tmp_path, 7)
    proc = Proc(tmp_path)
    assert gpu_processes.describe(GpuProcess(1, 7, 3 * GIB), proc) == "3.0 GiB of GPU 1 by pid 7 (python)"
    assert "process of the host" in gpu_processes.describe(GpuProcess(1, 8, None), proc)
