from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from remote_agent import health, health_gpu, machine, volume
from remote_agent.finding import Finding
from remote_agent.places import Places
from tests.fakes.nvidia_smi import FakeGpus

GIB = 1024**3


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "state", tmp_path / "runtime", tmp_path / "environments")
    made.create()
    return made


def named(places: Places, name: str, **more: int) -> list[Finding]:
    return [item for item in health.findings(places, **more) if item.name == name]


def test_every_problem_comes_with_a_remedy(places: Places) -> None:
    found = health.findings(places)
    assert {"python", "gpu", "disk", "memory", "shm", "ulimit", "environment", "leftovers", "clock"} <= {
        item.name for item in found
    }
    assert all(item.remedy for item in found if item.level != "ok")
    assert all(item.level in ("ok", "warning", "failure") for item in found)


def test_cards_driver_and_nccl(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGpus(tmp_path / "gpus", "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090").use(monkeypatch)
    (driver,) = named(places, "driver")
    assert (driver.level, driver.text) == ("ok", "driver 570.86.15, for CUDA up to 12.8")
    assert len(named(places, "gpu")) == 2
    (nccl,) = named(places, "nccl")
    assert "NCCL_P2P_DISABLE=1" in nccl.text


def test_a_driver_that_is_too_old_for_torch_is_a_failure(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeGpus(tmp_path / "gpus", "Tesla T4")
    script = fake.folder / "nvidia-smi"
    script.write_text(script.read_text().replace("CUDA Version: 12.8", "CUDA Version: 11.4"))
    fake.use(monkeypatch)
    (driver,) = named(places, "driver")
    assert (driver.level, "525" in driver.remedy) == ("failure", True)


def test_a_gpu_that_dropped_out_is_a_failure(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeGpus(tmp_path / "gpus")
    (fake.folder / "nvidia-smi").write_text(
        "#!/bin/sh\necho 'Unable to determine the device handle' >&2; exit 15\n"
    )
    fake.use(monkeypatch)
    (gpu,) = named(places, "gpu")
    assert (gpu.level, gpu.remedy) == ("failure", health_gpu.RESTART)


def disk_of(total: int, used: int) -> Callable[[Path], tuple[int, int]]:
    return lambda path: (used, total)


@pytest.mark.parametrize(("free", "level"), [(100 * GIB, "ok"), (10 * GIB, "warning"), (GIB, "failure")])
def test_free_disk(places: Places, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    monkeypatch.setattr(machine, "disk", disk_of(200 * GIB, 200 * GIB - free))
    (disk,) = named(places, "disk")
    assert disk.level == level


def test_where_df_shows_a_whole_cluster_the_files_are_counted(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "disk", disk_of(839 * 1024**4, 400 * 1024**4))
    monkeypatch.setattr(volume, "mount_of", lambda path: places.state)
    (places.state / "model").write_bytes(b"m" * 3 * 1024**2)
    (disk,) = named(places, "disk", volume_bytes=50 * GIB)
    assert disk.text.startswith("50.0 GiB free of 50.0 GiB")
    (unknown,) = named(places, "disk")
    assert unknown.level == "warning"
    assert "quota is not known" in unknown.text


def test_a_count_that_takes_too_long_is_a_lower_bound(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * 8192)
    ticks = iter(range(0, 1000, 10))
    found, exact = volume.occupied(tmp_path, clock=lambda: float(next(ticks)))
    assert not exact
    assert found < 3 * 8192


def test_a_quota_that_is_used_up_shows_in_the_write_probe(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "write", full)
    refused = volume.write_probe(places.state)
    assert refused is not None
    assert refused.errno == errno.EDQUOT
    assert list(places.state.glob(".probe-*")) == []


def test_environments_are_ready_or_not(places: Places) -> None:
    ready, cut = places.environments / "llamafactory-abc", places.environments / "axolotl-def"
    (ready / "bin").mkdir(parents=True)
    (ready / "bin" / "python").touch()
    (ready / "READY.json").touch()
    cut.mkdir()
    assert [(item.level, item.text.split()[0]) for item in named(places, "environment")] == [
        ("warning", "axolotl-def"),
        ("ok", "llamafactory-abc"),
    ]


def test_leftovers_are_measured(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    (places.blobs / ("a" * 64)).write_bytes(b"b" * 2 * 1024**2)
    monkeypatch.setattr(health, "WARN_LEFTOVERS", 1024**2)
    (found,) = named(places, "leftovers")
    assert (found.level, str(places.state) in found.remedy) == ("warning", True)
