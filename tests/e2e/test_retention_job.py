"""Which checkpoints of a real training are kept, and what is left of one without its optimizer states."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from presets import demo
from tests.fakes.command_line import FINETUI

pytestmark = [pytest.mark.trainer, pytest.mark.slow, pytest.mark.timeout(900)]

#: With this learning rate the loss goes up and down, and the best one is not among the last.
SETS = (
    *("eval_share=0.1", "keep_best=true", "save_limit=2", "save_steps=2", "eval_steps=2", "max_steps=12"),
    *("learning_rate=0.02", "scheduler=constant", "warmup=0", "launcher=torchrun", "zero_stage=null"),
)


def finetui(*arguments: str) -> Any:
    done = subprocess.run(
        [FINETUI, *arguments, "--json"], capture_output=True, text=True, timeout=600, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{arguments} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_best_checkpoint_is_kept_and_may_be_made_smaller(
    trainer_python: Path, environments_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINETUI_ENVIRONMENTS_DIR", str(environments_dir))
    rows = tmp_path / "rows.jsonl"
    demo.write_dataset(rows)
    sets = [argument for item in SETS for argument in ("--set", item)]
    launched = finetui("launch", "demo", "--data", str(rows), "--on", "local", *sets, "--follow")
    run = launched[0]["run"]

    (before,) = finetui("checkpoints", run)
    losses = {item["step"]: item["eval_loss"] for item in before}
    evaluated = {
        record["step"]: record["eval_loss"]
        for record in finetui("metrics", run)[0]
        if record["event"] == "eval" and record["eval_loss"] is not None
    }
    best = min(evaluated, key=lambda step: evaluated[step])
    assert best <= 8, "one of the two newest would be kept anyway"
    assert set(losses) == {best, 12}

    (after,) = finetui("checkpoints", run, "--drop-optimizer", str(best))
    smaller, newest = sorted(after, key=lambda item: item["step"])
    assert smaller["complete"] and not smaller["resumable"] and newest["resumable"]
    whole = next(item for item in before if item["step"] == best)
    assert smaller["bytes"] < 0.6 * whole["bytes"]
    (reply,) = finetui("chat", f"{run}@{best}", "-m", "How many?", "--max-tokens", "2")
    assert reply["tokens"] > 0
    for other in finetui("runs")[0]:
        if other["kind"] == "serve":
            finetui("stop", other["run"], "--force")
