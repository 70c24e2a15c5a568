from __future__ import annotations

import os
from pathlib import Path

import pytest

from remote_agent import files
from remote_agent.errors import AgentError
from remote_agent.places import Places
from remote_agent.protocol import MAX_PAYLOAD_BYTES


@pytest.fixture
def places(tmp_path: Path) -> Places:
    state = tmp_path / "state"
    (state / "runs/r").mkdir(parents=True)
    (state / "runs/r/log").write_bytes(b"0123456789")
    (tmp_path / "secret").write_text("hf_token")
    return Places(state, tmp_path / "runtime", tmp_path / "environments")


def test_listing_names_kinds_and_sizes(places: Places) -> None:
    (places.state / "runs/r/link").symlink_to("log")
    (places.state / "runs/r/output").mkdir()
    found = [(entry.name, entry.kind) for entry in files.list_directory(places, "runs/r")]
    assert found == [("link", "link"), ("log", "file"), ("output", "dir")]
    assert files.list_directory(places, "runs/r")[1].bytes == 10
    assert [entry.name for entry in files.list_directory(places, "")] == ["runs"]


@pytest.mark.parametrize(
    ("offset", "limit", "expected"),
    [(0, 4, b"0123"), (8, 100, b"89"), (10, 5, b""), (99, 5, b""), (0, -1, b"")],
)
def test_reading_a_part(places: Places, offset: int, limit: int, expected: bytes) -> None:
    assert files.read(places, "runs/r/log", offset, limit) == (10, expected)


def test_a_read_is_at_most_one_payload(places: Places) -> None:
    (places.state / "big").write_bytes(bytes(MAX_PAYLOAD_BYTES + 1))
    size, data = files.read(places, "big", 0, 10**9)
    assert (size, len(data)) == (MAX_PAYLOAD_BYTES + 1, MAX_PAYLOAD_BYTES)


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "runs/../../secret",
        "runs/r/..",
        "/etc/passwd",
        "runs/r/log\0x",
        "out",
        "outdir/secret",
        "absolute",
        "loop",
        "\ud800",
        "x" * 5000,
        "absent",
        "fifo",
        "runs",
    ],
)
def test_no_way_out(places: Places, path: str) -> None:
    (places.state / "out").symlink_to("../secret")
    (places.state / "outdir").symlink_to("..")
    (places.state / "absolute").symlink_to(places.state.parent / "secret")
    (places.state / "loop").symlink_to("loop")
    os.mkfifo(places.state / "fifo")
    with pytest.raises(AgentError):
        files.read(places, path, 0, 100)


@pytest.mark.parametrize("path", ["..", "/", "outdir", "\0", "runs/r/log", "absent"])
def test_no_listing_outside(places: Places, path: str) -> None:
    (places.state / "outdir").symlink_to("..")
    with pytest.raises(AgentError):
        files.list_directory(places, path)


def test_a_link_inside_is_followed(places: Places) -> None:
    (places.state / "latest").symlink_to("runs/r")
    assert files.read(places, "latest/log", 0, 3) == (10, b"012")


def test_a_state_directory_behind_a_link_works(places: Places) -> None:
    linked = places.state.parent / "linked"
    linked.symlink_to(places.state)
    through = Places(linked, places.runtime, places.environments)
    assert files.read(through, "runs/r/log", 0, 3) == (10, b"012")
