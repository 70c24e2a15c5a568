from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_agent.places import Places
from tests.fakes.agent_runs import Runs


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    # A unix socket's path may have 107 bytes; tmp_path can be longer.
    runtime = Path(tempfile.mkdtemp(prefix="finetui-test-"))
    yield Places(tmp_path / "state", runtime, tmp_path / "environments")
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def runs(places: Places) -> Iterator[Runs]:
    made = Runs(places)
    yield made
    made.clean()
