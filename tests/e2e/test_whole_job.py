"""The whole job as a user does it: the command line, the real agent, the real trainer, the real launchers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from presets import demo

pytestmark = [pytest.mark.trainer, pytest.mark.slow, pytest.mark.timeout(1200)]

ENDED = {"finished", "stopped", "failed", "lost"}


def finetui(*arguments: str, code: int = 0, timeout_s: float = 600) -> Any:
    """Run the installed command with --json and return its document."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "finetui"), *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, f"{arguments} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def eventually(read: Callable[[], Any], good: Callable[[Any], bool], deadline_s: float) -> Any:
    """Read until the value is good; fail with the last value seen."""
    end = time.monotonic() + deadline_s
    while True:
        value = read()
        if good(value):
            return value
        assert time.monotonic() < end, f"not within {deadline_s} s; last seen: {value}"
        time.sleep(0.3)


def status(run: str) -> dict[str, Any]:
    return finetui("status", run)


def wait_for_end(run: str) -> dict[str, Any]:
    return eventually(lambda: status(run), lambda seen: seen["state"] in ENDED, 600)


def processes_with_cookie(run: str) -> list[int]:
    """Every process whose environment carries this run's cookie."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"FINETUI_COOKIE={run}".encode() in environment:
            found.append(int(entry.name))
    return found


@pytest.fixture
def places(trainer_python: Path, environments_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUI_ENVIRONMENTS_DIR", str(environments_dir))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "my rows.jsonl"
    demo.write_dataset(path)
    return path


def test_the_whole_job(places: None, rows: Path) -> None:
    run = finetui("launch", "demo", "--data", str(rows), "--on", "local")["run"]

    # Numbers arrive while it trains, not after.
    seen = eventually(
        lambda: status(run),
        lambda s: s["state"] in ENDED or (s["state"] == "running" and (s["step"] or 0) >= 3 and s["loss"]),
        300,
    )
    assert seen["state"] == "running"
    assert seen["total"] > seen["step"]
    for field in ("loss", "lr", "grad_norm", "eta_s", "tokens_per_s"):
        assert seen[field] is not None, field
    assert seen["target"] == "local"
    first_loss = seen["loss"]

    done = wait_for_end(run)
    assert done["state"] == "finished", done
    assert done["step"] == done["total"]
    assert done["loss"] < 0.05 < first_loss

    checkpoints = finetui("checkpoints", run)
    assert len(checkpoints) >= 2
    assert all(item["complete"] and item["bytes"] > 0 and Path(item["path"]).is_dir() for item in checkpoints)
    assert processes_with_cookie(run) == []

    question = json.loads(rows.read_text().splitlines()[7])
    turn = f"{question['question']}\n{question['context']}"
    reply = finetui("chat", run, "-m", turn)
    assert reply["reply"] == question["answer"]
    assert reply["tokens"] > 0
    assert reply["ttft_s"] > 0

    # Back to the first checkpoint: it goes on at its step, and the numbers say so.
    first = min(item["step"] for item in checkpoints)
    finetui("resume", f"{run}@{first}")
    resumed = wait_for_end(run)
    assert resumed["state"] == "finished", resumed
    steps = [record["step"] for record in finetui("metrics", run) if record.get("event") == "log"]
    restart = next(i for i in range(1, len(steps)) if steps[i] <= steps[i - 1])
    assert first < steps[restart] <= first + 5
    assert resumed["loss"] < 0.05


def test_a_stop_in_the_middle_leaves_a_checkpoint_and_no_process(
    places: None, rows: Path, tmp_path: Path
) -> None:
    data = reshaped(
        rows,
        tmp_path / "prompt-completion.jsonl",
        lambda row: {"prompt": f"{row['question']}\n{row['context']}", "completion": row["answer"]},
    )
    sets = ["--set", "save_steps=1000", "--set", "max_steps=150"]
    run = finetui("launch", "demo", "--data", str(data), "--on", "local", *sets)["run"]
    eventually(lambda: status(run), lambda s: (s["step"] or 0) >= 3 or s["state"] in ENDED, 300)
    finetui("stop", run)

    stopped = status(run)
    assert stopped["state"] == "stopped", stopped
    assert stopped["step"] < stopped["total"]
    assert processes_with_cookie(run) == []
    (checkpoint,) = finetui("checkpoints", run)
    assert checkpoint["complete"]

    finetui("resume", run)
    done = wait_for_end(run)
    assert done["state"] == "finished", done
    assert done["step"] == done["total"]


def test_rows_of_messages_train_too(places: None, rows: Path, tmp_path: Path) -> None:
    data = reshaped(
        rows,
        tmp_path / "messages.jsonl",
        lambda row: {
            "messages": [
                {"role": "user", "content": f"{row['question']}\n{row['context']}"},
                {"role": "assistant", "content": row["answer"]},
            ]
        },
    )
    run = finetui("launch", "demo", "--data", str(data), "--on", "local", "--set", "max_steps=4")["run"]
    done = wait_for_end(run)
    assert done["state"] == "finished", done
    assert done["step"] == 4


def reshaped(rows: Path, path: Path, make: Callable[[dict[str, str]], dict[str, Any]]) -> Path:
    """Write the rows of ``rows`` with other columns."""
    path.write_text(
        "".join(json.dumps(make(json.loads(line))) + "\n" for line in rows.read_text().splitlines())
    )
    return path


@pytest.fixture(autouse=True)
def end_servers() -> Any:
    """Stop the model servers that a test's chat left for reuse."""
    yield
    if os.environ.get("FINETUI_STATE_DIR"):
        for run in finetui("runs"):
            if run["state"] not in ENDED:
                finetui("stop", run["run"], "--force")
