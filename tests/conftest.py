"""Fixtures that all tests share: places of their own, and the real trainer environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine, nothing of the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the user's own runs, history and configuration."""
    monkeypatch.setenv("FINETUI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FINETUI_STATE_DIR", str(tmp_path / "state"))
    # An agent leaves by itself when nobody asks for it; a suite should not wait ten minutes for hundreds.
    monkeypatch.setenv("FINETUI_AGENT_IDLE_S", "30")
    for name in ("NO_COLOR", "FINETUI_FAILPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def environments_dir() -> Path:
    """The environments that all runs on this machine share; built once, minutes on a new machine."""
    configured = os.environ.get("FINETUI_ENVIRONMENTS_DIR")
    return Path(configured) if configured else Path.home() / ".local/state/finetui/environments"


@pytest.fixture(scope="session")
def trainer_python(environments_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the LLaMA-Factory environment, built by the agent's own builder when absent."""
    given = os.environ.get("FINETUI_TEST_TRAINER_PYTHON")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("environment")
    run = folder / "runs" / "environment-for-tests"
    run.mkdir(parents=True)
    pins = REPOSITORY / "presets" / "trainers"
    spec = {
        "environment": {
            "name": "llamafactory",
            "pins": (pins / "llamafactory.txt").read_text(),
            "late_pins": (pins / "llamafactory-late.txt").read_text(),
            "probe": ["llamafactory", "deepspeed"],
        }
    }
    (run / "spec.json").write_text(json.dumps(spec))
    environment = {
        **os.environ,
        "FINETUI_STATE_DIR": str(folder),
        "FINETUI_ENVIRONMENTS_DIR": str(environments_dir),
    }
    with (run / "log").open("wb") as log:
        code = subprocess.run(
            [sys.executable, "-m", "remote_agent", "environment", "--run", str(run)],
            env=environment, stdout=log, stderr=log, check=False,
        ).returncode  # fmt: skip
    assert code == 0, f"the environment was not built:\n{(run / 'log').read_text()[-4000:]}"
    return Path(json.loads((run / "environment.json").read_text())["python"])


@pytest.fixture(scope="session")
def tmux() -> str:
    """Path of tmux; absent, the test is skipped, unless CI says that it must be there."""
    found = shutil.which("tmux")
    if found is None:
        if os.environ.get("FINETUI_REQUIRE_TMUX"):
            pytest.fail("tmux is not installed and FINETUI_REQUIRE_TMUX is set")
        pytest.skip("tmux is not installed: the test that presses keys in a real terminal can't run")
    return found
