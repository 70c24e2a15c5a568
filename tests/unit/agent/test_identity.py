"""A pid that was reused is a stranger, and a stranger is never signalled."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from remote_agent.identity import Identity, Proc, send
from remote_agent.sweep import carriers, descendants, kill_all


def fake_process(
    root: Path, pid: int, *, ticks: int, parent: int = 1, state: str = "S", env: bytes = b""
) -> None:
    folder = root / str(pid)
    folder.mkdir(parents=True, exist_ok=True)
    fields = [state, str(parent), *["0"] * 17, str(ticks), "0"]
    (folder / "stat").write_text(f"{pid} (a ) name) {' '.join(fields)}\n")
    (folder / "environ").write_bytes(env)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    root = tmp_path / "proc"
    (root / "sys/kernel/random").mkdir(parents=True)
    (root / "sys/kernel/random/boot_id").write_text("boot-one\n")
    fake_process(root, 1, ticks=1)
    return Proc(root)


def test_a_process_with_parentheses_in_its_name_is_read(proc: Proc) -> None:
    fake_process(proc.root, 77, ticks=500, parent=42)
    stat = proc.stat(77)
    assert stat is not None
    assert (stat.parent, stat.start_ticks, stat.state) == (42, 500, "S")


def test_the_same_pid_with_another_start_is_dead(proc: Proc) -> None:
    fake_process(proc.root, 77, ticks=500)
    identity = proc.identify(77)
    assert proc.alive(identity)
    fake_process(proc.root, 77, ticks=508)
    assert not proc.alive(identity)


def test_another_boot_makes_every_identity_dead(proc: Proc) -> None:
    fake_process(proc.root, 77, ticks=500)
    identity = proc.identify(77)
    (proc.root / "sys/kernel/random/boot_id").write_text("boot-two\n")
    assert not proc.alive(identity)


def test_a_container_restart_is_another_boot_although_the_kernel_is_the_same(proc: Proc) -> None:
    before = proc.boot()
    fake_process(proc.root, 1, ticks=90_000)
    assert proc.boot() != before


def test_a_zombie_is_dead(proc: Proc) -> None:
    """In a container whose pid 1 never reaps, zombies stay for ever."""
    fake_process(proc.root, 77, ticks=500)
    identity = proc.identify(77)
    fake_process(proc.root, 77, ticks=500, state="Z")
    assert not proc.alive(identity)


def test_a_stranger_with_our_pid_gets_no_signal() -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        real = Proc()
        identity = real.identify(stranger.pid)
        assert identity is not None
        ours = Identity(stranger.pid, identity.start_ticks - 8, identity.boot)
        assert not send(ours, signal.SIGKILL, real)
        assert stranger.poll() is None
        assert send(identity, signal.SIGKILL, real)
        assert stranger.wait(10) == -signal.SIGKILL
        assert not send(identity, signal.SIGKILL, real)
    finally:
        stranger.kill()
        stranger.wait()


def test_without_pidfd_the_comparison_still_protects_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        identity = Proc().identify(stranger.pid)
        assert identity is not None
        assert not send(Identity(stranger.pid, 1, identity.boot), signal.SIGKILL, Proc())
        assert stranger.poll() is None
        assert send(identity, signal.SIGKILL, Proc())
        assert stranger.wait(10) == -signal.SIGKILL
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("value", [None, 3, {}, {"pid": "1"}, {"pid": -1, "start_ticks": 1, "boot": ""}])
def test_a_damaged_identity_is_nobody(value: object) -> None:
    assert Identity.from_json(value) is None
    assert not Proc().alive(Identity.from_json(value))


def test_descendants_are_found_through_zombies(proc: Proc) -> None:
    fake_process(proc.root, 10, ticks=1)
    fake_process(proc.root, 11, ticks=2, parent=10, state="Z")
    fake_process(proc.root, 12, ticks=3, parent=11)
    fake_process(proc.root, 99, ticks=4)
    assert [found.pid for found in descendants(proc, 10)] == [12]


def test_a_cookie_is_matched_whole(proc: Proc) -> None:
    fake_process(proc.root, 20, ticks=1, env=b"A=1\0FINETUI_COOKIE=r1.abc\0")
    fake_process(proc.root, 21, ticks=1, env=b"FINETUI_COOKIE=r1.abcd\0")
    fake_process(proc.root, 22, ticks=1, env=b"XFINETUI_COOKIE=r1.abc\0")
    assert [found.pid for found in carriers(proc, "r1.abc")] == [20]


def test_what_can_not_be_killed_is_reported_after_the_timeout(proc: Proc) -> None:
    """The fake process has a pid that no kernel gives out, so nothing can kill it."""
    fake_process(proc.root, 2**22 + 7, ticks=1)
    stuck = proc.identify(2**22 + 7)
    assert stuck is not None
    times = iter(range(100))
    survivors = kill_all(proc, lambda: [stuck], lambda: None, timeout_s=3, clock=lambda: float(next(times)))
    assert survivors == [stuck]
