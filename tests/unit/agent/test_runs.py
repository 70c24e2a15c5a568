"""What the agent stores is whole or absent, in places that only its user can touch."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from remote_agent import documents
from remote_agent.conclusion import reserve_room, write_exit
from remote_agent.errors import AgentError
from remote_agent.places import Places
from remote_agent.runs import RunDirectory, list_runs, lock_held, take_lock


def places_in(folder: Path) -> Places:
    return Places(folder / "state", folder / "runtime", folder / "state" / "environments")


def test_the_runtime_directory_is_private(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    places.create()
    assert places.runtime.stat().st_mode & 0o777 == 0o700
    places.create()


def test_a_symlink_in_place_of_the_runtime_directory_is_refused(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    places.runtime.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AgentError, match="not a directory of this user"):
        places.create()


def test_a_runtime_directory_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    places.runtime.mkdir(mode=0o700)
    places.runtime.chmod(0o755)
    with pytest.raises(AgentError, match="mode 0700"):
        places.create()


def test_places_follow_the_volume_and_the_environment(tmp_path: Path) -> None:
    volume = tmp_path / "workspace"
    without = Places.from_environment({"HOME": str(tmp_path)}, volume=volume)
    assert without.state == tmp_path / ".local/state/finetui"
    volume.mkdir()
    assert Places.from_environment({"HOME": str(tmp_path)}, volume=volume).state == volume / ".finetui"
    chosen = Places.from_environment({"FINETUI_STATE_DIR": str(tmp_path / "mine")}, volume=volume)
    assert (chosen.state, chosen.environments) == (tmp_path / "mine", tmp_path / "mine/environments")
    assert Places.from_environment(chosen.as_environment(), volume=volume) == chosen
    assert chosen.key != without.key


def test_a_folder_without_a_spec_is_no_run(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    places.create()
    for name in ("whole", "half", ".trash"):
        (places.runs / name).mkdir()
    (places.runs / "whole/spec.json").write_text("{}")
    assert [directory.run for directory in list_runs(places)] == ["whole"]


def test_a_lock_is_seen_while_it_is_held_and_looking_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not lock_held(path)
    held = take_lock(path)
    assert held is not None
    assert lock_held(path)
    assert take_lock(path) is None
    os.close(held)
    assert not lock_held(path)
    again = take_lock(path)
    assert again is not None
    os.close(again)


def test_a_document_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "proc.json"
    documents.write_json(path, {"attempt": 1})
    documents.write_json(path, {"attempt": 2})
    assert documents.read_json(path) == {"attempt": 2}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["proc.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_document_is_absent(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "proc.json"
    path.write_bytes(content)
    assert documents.read_json(path) is None


def test_a_record_torn_at_any_point_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = b'{"n":"torn"}\n'
    for cut in range(len(line)):
        path.write_bytes(b'{"n":"first"}\n' + line[:cut])
        documents.append_record(path, {"n": "next"})
        records = path.read_bytes().splitlines()
        assert json.loads(records[0]) == {"n": "first"}
        assert json.loads(records[-1]) == {"n": "next"}


def in_a_child_with_file_limit(limit_bytes: int, work: object) -> int:
    """Run ``work`` where a file can't grow over the limit (as on a full disk); return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
            code = work()  # type: ignore[operator]
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_full_disk_leaves_the_old_document_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "proc.json"
    documents.write_json(path, {"attempt": 1})

    def fill() -> int:
        try:
            documents.write_json(path, {"attempt": "x" * 4096})
        except OSError:
            return 5
        return 0

    assert in_a_child_with_file_limit(100, fill) == 5
    assert documents.read_json(path) == {"attempt": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["proc.json"]


def test_the_reserve_makes_room_for_the_exit_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = RunDirectory(tmp_path)
    reserve_room(directory)
    real = documents.write_json

    def full_until_freed(path: Path, value: object) -> None:
        if directory.reserve.exists():
            raise OSError(28, "No space left on device")
        real(path, value)

    monkeypatch.setattr("remote_agent.conclusion.write_json", full_until_freed)
    write_exit(directory, {"state": "failed"})
    assert documents.read_json(directory.exit) == {"state": "failed"}
