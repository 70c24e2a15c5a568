"""The agent as one file: the same sources give the same bytes; shells may print what they like before it."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from remote_agent.protocol import MAX_NOISE_BYTES
from tests.fakes.scripted_link import ScriptedLink
from tui.errors import RemoteError, Unreachable
from tui.remote.bootstrap import build_agent, check_protocol, install_here, local_state_dir, read_answer


def test_the_build_is_deterministic_and_named_by_its_content(tmp_path: Path) -> None:
    first, second = build_agent(), build_agent()
    assert first == second
    assert first.name == f"0.1.0-{first.sha256[:12]}"
    (tmp_path / "agent.pyz").write_bytes(first.data)
    with zipfile.ZipFile(tmp_path / "agent.pyz") as archive:
        names = archive.namelist()
        assert len({entry.date_time for entry in archive.infolist()}) == 1
    assert "__main__.py" in names
    assert "remote_agent/trainers/callback.py" in names
    assert not [name for name in names if name.endswith(".pyc")]


def test_it_is_installed_once_for_this_user_alone() -> None:
    build = build_agent()
    install_here(build)
    installed = local_state_dir() / "agent" / build.name / "agent.pyz"
    assert installed.read_bytes() == build.data
    assert stat.S_IMODE(installed.parent.stat().st_mode) & 0o077 == 0
    inode = installed.stat().st_ino
    install_here(build)
    assert installed.stat().st_ino == inode
    assert [path.name for path in installed.parent.iterdir()] == ["agent.pyz"]


def test_a_state_directory_that_can_t_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FINETUI_STATE_DIR", str(tmp_path / "file" / "state"))
    with pytest.raises(RemoteError, match="FINETUI_STATE_DIR"):
        install_here(build_agent())


def answer_of(chunks: list[bytes]) -> tuple[str | None, bytes]:
    link = ScriptedLink()
    for chunk in chunks:
        link.feed(chunk)
    link.feed(b"")
    return read_answer(link, "MARK", "pod")


@pytest.mark.parametrize("cut", range(1, 26))
def test_noise_before_the_marker_is_skipped_wherever_it_is_cut(cut: int) -> None:
    data = b"Welcome to MARKET\nMARK 1\nrest"
    version, rest = answer_of([data[:cut], data[cut:]])
    assert version == "1"
    assert b"rest".startswith(rest)


def test_endless_noise_is_refused() -> None:
    with pytest.raises(Unreachable, match="prints too much"):
        answer_of([b"x" * 65536] * (MAX_NOISE_BYTES // 65536 + 2))


def test_the_end_before_the_marker_keeps_what_was_said() -> None:
    assert answer_of([b"quota exceeded\n"]) == (None, b"quota exceeded\n")


def test_another_protocol_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(Unreachable, match="protocol 9"):
        check_protocol("9", "pod")
