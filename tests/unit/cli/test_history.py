"""What the laptop remembers of runs: whole or not at all, and never outside its folder."""

from __future__ import annotations

import errno
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from presets.errors import FinetuiError
from remote_agent.protocol import RunStatus
from tui.state.history import History
from tui.state.run_id import is_run_id, new_run_id, split_checkpoint

RUN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def test_what_is_remembered_comes_back_with_its_age(tmp_path: Path) -> None:
    history = History(tmp_path / "history", wall_clock=lambda: 1000.0)
    status = RunStatus(RUN, "running", step=3, total=10, loss=0.5)
    history.remember("gpu1", status)
    entry = History(tmp_path / "history").get(RUN)
    assert entry is not None
    assert (entry.target, entry.status, entry.age_s(1042.0)) == ("gpu1", status, 42.0)
    assert stat.S_IMODE((tmp_path / "history" / RUN).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "history" / RUN / "run.json").stat().st_mode) == 0o600


def test_a_full_disk_keeps_the_old_status_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(tmp_path)
    history.remember("local", RunStatus(RUN, "running", step=1))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(FinetuiError, match="No space left") as caught:
        history.remember("local", RunStatus(RUN, "running", step=2))
    assert "FINETUI_HOME" in caught.value.remedy
    monkeypatch.undo()
    entry = history.get(RUN)
    assert entry is not None
    assert entry.status.step == 1
    assert [path.name for path in (tmp_path / RUN).iterdir()] == ["run.json"]


@pytest.mark.parametrize("run", ["../x", "/etc/passwd", "", "01ARZ3NDEKTSV4RRFFQ69G5FAV/..", "a" * 26])
def test_a_hostile_run_id_never_becomes_a_path(tmp_path: Path, run: str) -> None:
    history = History(tmp_path / "history")
    with pytest.raises(ValueError, match="not a run id"):
        history.remember("local", RunStatus(run, "running"))
    assert history.get(run) is None
    assert list(tmp_path.iterdir()) == []


def test_entries_are_newest_first_and_damaged_ones_are_left_out(tmp_path: Path) -> None:
    history = History(tmp_path)
    older, newer = new_run_id(lambda: 1.0), new_run_id(lambda: 2.0)
    for run in (older, newer):
        history.remember("local", RunStatus(run, "finished"))
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "run.json").write_text('{"run": 1')
    assert [entry.run for entry in history.entries()] == [newer, older]
    history.forget(newer)
    assert [entry.run for entry in history.entries()] == [older]


def test_run_ids_are_ulids() -> None:
    # The ULID specification's own example: 1469918176385 ms is 01ARYZ6S41.
    assert new_run_id(lambda: 1469918176.385, lambda bits: 0) == "01ARYZ6S41" + "0" * 16
    ids = {new_run_id() for _ in range(200)}
    assert len(ids) == 200
    assert all(is_run_id(run) for run in ids)


def test_checkpoints_are_split_from_runs() -> None:
    assert split_checkpoint("R") == ("R", None)
    assert split_checkpoint("R@80") == ("R", 80)
    assert split_checkpoint("R@base") == ("R", "base")
