from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from remote_agent import blobs, cleanup
from remote_agent.identity import Proc
from remote_agent.places import Places

OLD_S = 2 * 86_400


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "state", tmp_path / "runtime", tmp_path / "environments")
    made.create()
    return made


def age(path: Path) -> Path:
    then = time.time() - OLD_S
    os.utime(path, (then, then))
    return path


def build(places: Places, name: str) -> Path:
    folder = places.state / "agent" / name
    folder.mkdir(parents=True)
    (folder / "agent.pyz").touch()
    return age(folder)


def test_uploads_go_after_a_day_unless_somebody_asks_for_them(places: Places) -> None:
    old, asked, young, torn = ("a" * 64), ("b" * 64), ("c" * 64), ("d" * 64 + ".part")
    for name in (old, asked, young, torn):
        (places.blobs / name).write_bytes(b"x")
    for name in (old, asked, torn):
        age(places.blobs / name)
    assert blobs.have(places, asked) == blobs.WHOLE
    cleanup.tidy(places)
    assert {path.name for path in places.blobs.iterdir()} == {asked, young}


def test_a_build_goes_when_no_process_uses_it(places: Places) -> None:
    unused, running, imported = (build(places, f"0.1.0-{letter * 12}") for letter in "abc")
    fresh = build(places, "0.1.0-dddddddddddd")
    os.utime(fresh)
    sleeper = "import sys; sys.stdin.read()"
    by_argv = subprocess.Popen(
        [sys.executable, "-c", sleeper, str(running / "agent.pyz")], stdin=subprocess.PIPE
    )
    by_environment = subprocess.Popen(
        [sys.executable, "-c", sleeper],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(imported / "agent.pyz")},
    )
    try:
        cleanup.tidy(places)
        assert {path.name for path in (places.state / "agent").iterdir()} == {
            running.name,
            imported.name,
            fresh.name,
        }
    finally:
        for process in (by_argv, by_environment):
            process.communicate()
    age(running)
    cleanup.tidy(places)
    assert not unused.exists()
    assert not running.exists()


def test_a_cut_deletion_is_finished(places: Places) -> None:
    grave = places.trash / "r1-abcd" / "output"
    grave.mkdir(parents=True)
    (grave / "weights").write_bytes(b"w" * 100_000)
    assert cleanup.leftovers(places, Proc()).trash >= 100_000
    cleanup.tidy(places)
    assert not places.trash.exists()
