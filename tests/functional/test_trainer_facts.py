"""The checked-in facts about the trainer are what its pinned version itself says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.trainer
@pytest.mark.timeout(600)
def test_arguments_and_templates_are_those_of_the_installed_trainer(trainer_python: Path) -> None:
    done = subprocess.run(
        [str(trainer_python), str(REPOSITORY / "tests/tools/trainer_facts.py")],
        env={**os.environ, "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    checked_in = json.loads((REPOSITORY / "presets/trainer_facts.json").read_text())
    assert json.loads(done.stdout) == checked_in
