"""A run from launch to delete through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.fakes.command_line import FINETUI, finetui
from tests.fakes.waiting import wait_for

StartRun = Callable[..., str]


def test_logs_and_metrics_follow_to_the_end_and_the_numbers_are_the_run_s(start_run: StartRun) -> None:
    run = start_run("--steps", "20", "--step-s", "0.02")
    followed = finetui("metrics", run, "-f", "--json")
    assert followed.code == 0
    records = [json.loads(line) for line in followed.out.splitlines()]
    assert [record["step"] for record in records if record["event"] == "log"] == list(range(1, 21))
    status = finetui("status", run, "--json").json
    assert (status["run"], status["state"], status["step"], status["total"]) == (run, "finished", 20, 20)
    assert status["target"] == "local"
    assert status["started"].endswith("Z")
    for key in ("epoch", "loss", "lr", "grad_norm", "eta_s", "tokens_per_s", "phase"):
        assert key in status
    assert finetui("metrics", run, "--json").json == records
    (checkpoint,) = finetui("checkpoints", run, "--json").json
    assert checkpoint["step"] == 20
    assert set(checkpoint) >= {"id", "step", "bytes", "complete", "path"}


def test_the_followed_log_is_the_file_to_the_byte(start_run: StartRun) -> None:
    run = start_run("--steps", "5", "--step-s", "0.01", "--code", "3")
    followed = finetui("logs", run, "-f")
    log = Path(os.environ["FINETUI_STATE_DIR"]) / "runs" / run / "log"
    assert followed.out.encode() == log.read_bytes()
    assert followed.code == 1, "a failed run is exit code 1"
    assert "CUDA out of memory" in followed.out
    assert run in followed.err
    last = finetui("logs", run, "-n", "1")
    assert last.out.splitlines() == log.read_text().splitlines()[-1:]


def test_stop_waits_for_the_end_and_may_be_repeated(start_run: StartRun) -> None:
    run = start_run("--steps", "10000", "--step-s", "0.02")
    wait_for(lambda: finetui("status", run, "--json").json["state"] == "running", "the run to run")
    stopped = finetui("stop", run, "--json")
    assert (stopped.code, stopped.json["state"]) == (0, "stopped")
    assert finetui("stop", run).code == 0
    assert finetui("status", run, "--json").json["state"] == "stopped"


def test_a_run_can_be_named_by_the_end_of_its_id_and_deleted(start_run: StartRun) -> None:
    run = start_run("--steps", "1")
    finetui("logs", run, "-f")
    assert finetui("status", run[-6:].lower(), "--json").json["run"] == run
    deleted = finetui("delete", run, "--json")
    assert deleted.json["run"] == run
    assert deleted.json["freed_bytes"] > 0
    assert finetui("runs", "--json").json == []
    gone = finetui("status", run)
    assert gone.code == 2
    assert "finetui runs" in gone.err


def test_a_live_run_is_not_deleted(start_run: StartRun) -> None:
    run = start_run("--steps", "10000", "--step-s", "0.02")
    refused = finetui("delete", run)
    assert refused.code == 1
    assert f"finetui stop {run}" in refused.err
    assert finetui("stop", run, "--force").code == 0


def test_resume_goes_on_from_the_checkpoint(start_run: StartRun) -> None:
    run = start_run("--steps", "6", "--step-s", "0.01")
    finetui("logs", run, "-f")
    refused = finetui("resume", f"{run}@4")
    assert refused.code == 1
    assert "step 4" in refused.err
    assert finetui("status", run, "--json").json["state"] == "finished"


def test_runs_are_listed_newest_first_for_people_too(start_run: StartRun) -> None:
    first, second = start_run("--steps", "1"), start_run("--steps", "1")
    listed = [item["run"] for item in finetui("runs", "--json").json]
    assert listed == sorted((first, second), reverse=True)
    lines = finetui("runs").out.splitlines()
    assert lines[0].startswith("RUN")
    assert len(lines) == 3


def test_following_survives_the_agent(start_run: StartRun) -> None:
    run = start_run("--steps", "60", "--step-s", "0.05")
    process = subprocess.Popen([FINETUI, "metrics", run, "-f", "--json"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    os.kill(agent_pid(), signal.SIGKILL)
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(60) == 0
    steps = [json.loads(line).get("step") for line in (first + rest).splitlines() if '"log"' in line]
    assert steps == list(range(1, 61)), "nothing lost, nothing twice"


def test_a_broken_state_directory_is_named_with_what_to_do(start_run: StartRun, tmp_path: Path) -> None:
    run = start_run("--steps", "3")
    finetui("logs", run, "-f")
    (tmp_path / "file").write_text("")
    shown = finetui("logs", run, FINETUI_STATE_DIR=str(tmp_path / "file" / "state"))
    assert shown.code == 1
    assert "FINETUI_STATE_DIR" in shown.err


def agent_pid() -> int:
    """Find the agent of this test by its state directory."""
    wanted = f"FINETUI_STATE_DIR={os.environ['FINETUI_STATE_DIR']}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"agentd" in arguments and wanted in environment:
            return int(entry.name)
    raise AssertionError("there is no agent")


def test_pull_brings_a_checkpoint_whole(start_run: StartRun, tmp_path: Path) -> None:
    run = start_run("--steps", "3")
    finetui("logs", run, "-f")
    (checkpoint,) = finetui("checkpoints", run, "--json").json
    pulled = finetui("pull", f"{run}@3", str(tmp_path / "mine"), "--json")
    assert pulled.code == 0, pulled.err
    here, there = Path(pulled.json["path"]), Path(checkpoint["path"])
    assert here == tmp_path / "mine" / "checkpoint-3"

    def contents(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    assert contents(here) == contents(there) != {}
    again = finetui("pull", run, str(tmp_path / "mine"))
    assert again.code == 2
    assert "there already" in again.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["checkpoint-3"]


def test_files_lists_and_saves(start_run: StartRun, tmp_path: Path) -> None:
    run = start_run("--steps", "1")
    finetui("logs", run, "-f")
    names = [entry["name"] for entry in finetui("files", "local", f"runs/{run}", "--json").json]
    assert {"spec.json", "log", "prepared"} <= set(names)
    assert finetui("files", "local", f"runs/{run}/log", "--save", str(tmp_path / "log")).code == 0
    state = Path(os.environ["FINETUI_STATE_DIR"])
    assert (tmp_path / "log").read_bytes() == (state / "runs" / run / "log").read_bytes()
    outside = finetui("files", "local", "../..")
    assert outside.code == 1
    assert "state directory" in outside.err
