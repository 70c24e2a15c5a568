from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from remote_agent import blobs
from remote_agent.errors import AgentError
from remote_agent.places import Places
from remote_agent.protocol import CONFLICT, FAILED, NO_SPACE

DATA = bytes(range(256)) * 4
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "state", tmp_path / "runtime", tmp_path / "environments")


def put(places: Places, offset: int, end: int) -> int:
    return blobs.put(places, SHA256, offset, len(DATA), DATA[offset:end])


@pytest.fixture(autouse=True)
def room(places: Places) -> None:
    places.state.mkdir()


def test_upload_in_pieces(places: Places) -> None:
    assert blobs.have(places, SHA256) == 0
    assert put(places, 0, 500) == 500
    assert blobs.have(places, SHA256) == 500
    assert put(places, 500, len(DATA)) == len(DATA)
    assert blobs.have(places, SHA256) == blobs.WHOLE
    assert (places.blobs / SHA256).read_bytes() == DATA
    assert [path.name for path in places.blobs.iterdir()] == [SHA256]


def test_sending_a_piece_again_is_harmless(places: Places) -> None:
    put(places, 0, 500)
    assert put(places, 100, 400) == 500
    assert put(places, 400, len(DATA)) == len(DATA)
    assert put(places, 0, 500) == len(DATA)
    assert (places.blobs / SHA256).read_bytes() == DATA


def test_a_gap_is_refused(places: Places) -> None:
    put(places, 0, 100)
    with pytest.raises(AgentError) as refused:
        put(places, 200, 300)
    assert refused.value.code == CONFLICT
    assert blobs.have(places, SHA256) == 100


def test_wrong_content_is_thrown_away(places: Places) -> None:
    with pytest.raises(AgentError) as refused:
        blobs.put(places, SHA256, 0, len(DATA), DATA[::-1])
    assert refused.value.code == FAILED
    assert blobs.have(places, SHA256) == 0
    assert list(places.blobs.iterdir()) == []
    assert put(places, 0, len(DATA)) == len(DATA)


def test_an_empty_file(places: Places) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    assert blobs.put(places, empty, 0, 0, b"") == 0
    assert blobs.have(places, empty) == blobs.WHOLE


@pytest.mark.parametrize("name", ["", "../x", "A" * 64, "a" * 63, "a" * 64 + "\n", "/" + "a" * 63])
def test_only_hashes_are_names(places: Places, name: str) -> None:
    with pytest.raises(AgentError):
        blobs.have(places, name)
    with pytest.raises(AgentError):
        blobs.put(places, name, 0, 1, b"x")


@pytest.mark.parametrize(("offset", "size"), [(-1, 10), (0, -1), (8, 10)])
def test_bytes_must_fit_the_announced_size(places: Places, offset: int, size: int) -> None:
    with pytest.raises(AgentError):
        blobs.put(places, SHA256, offset, size, b"123")


def test_a_full_disk_is_said_before_it_is_full(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=blobs.SPARE_BYTES + 10))
    with pytest.raises(AgentError) as refused:
        put(places, 0, 100)
    assert refused.value.code == NO_SPACE


def test_the_running_hash_is_that_of_the_file_or_none(places: Places) -> None:
    in_order, out_of_order = blobs.RunningHash(), blobs.RunningHash()
    in_order.add(0, DATA[:10])
    in_order.add(10, DATA[10:])
    assert in_order.of(len(DATA)) == SHA256
    assert in_order.of(len(DATA) + 1) is None
    out_of_order.add(0, DATA[:10])
    out_of_order.add(5, DATA[5:])
    assert out_of_order.of(len(DATA)) is None


def test_bytes_that_were_there_before_are_read_again_for_the_hash(places: Places) -> None:
    blobs.put(places, SHA256, 0, len(DATA), bytes(10))
    running = blobs.RunningHash()
    with pytest.raises(AgentError):
        blobs.put(places, SHA256, 10, len(DATA), DATA[10:], running)
    assert blobs.have(places, SHA256) == 0
