"""A lock that a killed run left in the folder of compiled extensions does not block the next run."""

from __future__ import annotations

from pathlib import Path

from remote_agent.trainers.extensions import ExtensionsFolder


def leave_lock(folder: Path) -> Path:
    lock = folder / "py311_cpu" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    return lock


def test_the_lock_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    lock = leave_lock(tmp_path)
    ExtensionsFolder(tmp_path).loaded()

    assert not lock.exists()


def test_the_lock_of_a_run_that_is_compiling_stays(tmp_path: Path) -> None:
    compiling = ExtensionsFolder(tmp_path)
    lock = leave_lock(tmp_path)
    other = ExtensionsFolder(tmp_path)
    assert lock.exists()

    compiling.loaded()
    other.loaded()
    ExtensionsFolder(tmp_path).loaded()
    assert not lock.exists()
