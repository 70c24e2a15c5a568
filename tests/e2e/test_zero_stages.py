"""Every ZeRO stage and both launchers, with the real trainer: metrics, checkpoints, stop and resume."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import shutil
import subprocess
import time
import zipfile
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from presets import demo
from presets.render import Prepared, render
from presets.spec import resolve
from remote_agent.job_environment import expand, free_port, has_gpu, step_environment
from remote_agent.job_spec import Step

pytestmark = [pytest.mark.trainer, pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = 6
ONE_RANK = [
    (stage, method, launcher)
    for stage, launcher in ((1, "torchrun"), (2, "deepspeed"), (3, "torchrun"))
    for method in ("full", "lora")
]
#: The case that asks LLaMA-Factory for its plot; the others do without matplotlib.
PLOTTED = (2, "full")
DEADLINE_S = 300.0


@dataclass(frozen=True)
class Run:
    """A run directory as the agent makes one; ``threads`` for each rank."""

    path: Path
    prepared: Prepared
    python: Path
    threads: int = 1

    def start(self, step: dict[str, Any], *more: str) -> subprocess.Popen[bytes]:
        values = {
            "python": str(self.python),
            "bin": str(self.python.parent),
            "prepared": str(self.path / "prepared"),
            "output": str(self.path / "output"),
            "run": str(self.path),
            "port": str(free_port()),
            "threads": str(self.threads),
            "accelerators_flag": "--num_gpus" if has_gpu() else "--num_accelerators",
        }
        argv = [expand(argument, values) for argument in step["argv"]]
        own = {"FINETUI_RUN_DIR": str(self.path), "OMP_NUM_THREADS": str(self.threads)}
        environment = step_environment(os.environ, Step(step["name"], tuple(argv)), values, own, {})
        with (self.path / "log").open("ab") as log:
            return subprocess.Popen(
                [*argv, *more], cwd=self.path / "prepared", env=environment, stdout=log, stderr=log
            )

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait(timeout=DEADLINE_S)
        assert code == 0, f"exit code {code}\n{(self.path / 'log').read_text()[-6000:]}"

    def metrics(self) -> list[dict[str, Any]]:
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def step_named(prepared: Prepared, name: str) -> dict[str, Any]:
    return next(step for step in prepared.job["steps"] if step["name"] == name)


def make_run(folder: Path, python: Path, model: Path | None, *sets: str) -> Run:
    rows = folder.parent / f"{folder.name}.jsonl"
    demo.write_dataset(rows)
    prepared = render(resolve("demo", sets), rows, None, folder / "prepared")
    if model is not None:
        shutil.copytree(model, folder / "prepared" / "model")
    return Run(folder, prepared, python)


@pytest.fixture(scope="module")
def model(trainer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, made once by the step that the demo runs."""
    run = make_run(tmp_path_factory.mktemp("model"), trainer_python, None)
    run.wait(run.start(step_named(run.prepared, "model")))
    return run.path / "prepared" / "model"


@pytest.fixture(scope="module")
def one_rank_runs(
    trainer_python: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[int, str, str], Future[Run]]:
    """All trainings with one rank, two at a time: most of their time is LLaMA-Factory's import."""
    folder = tmp_path_factory.mktemp("one-rank")

    def train(stage: int, method: str, launcher: str) -> Run:
        sets = [f"zero_stage={stage}", f"method={method}", f"launcher={launcher}", f"max_steps={STEPS}"]
        if (stage, method) == PLOTTED:
            sets.append("trainer_args.plot_loss=true")
        path = folder / f"{stage}-{method}"
        run = make_run(path, trainer_python, model, *sets, "save_steps=4", "logging_steps=1", "warmup=0")
        run.wait(run.start(step_named(run.prepared, "train")))
        return run

    with ThreadPoolExecutor(2) as pool:
        return {case: pool.submit(train, *case) for case in ONE_RANK}


def events(run: Run, name: str) -> list[dict[str, Any]]:
    return [record for record in run.metrics() if record["event"] == name]


def missing_from_checkpoint(path: Path, ranks: int) -> list[str]:
    """Names that DeepSpeed needs to resume from ``path`` with as many ranks."""
    shards = len(list(path.glob("global_step*/*_optim_states.pt")))
    names = ["trainer_state.json", "latest", "scheduler.pt"]
    missing = [name for name in names if not (path / name).exists()]
    return missing if shards == ranks else [*missing, f"{ranks - shards} optimizer shards"]


class Anything:
    """Stands for every class that a checkpoint names: reading one needs no torch."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


class CheckpointReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return OrderedDict if name == "OrderedDict" else Anything

    def persistent_load(self, pid: Any) -> None:
        return None


def zero_stage_of(checkpoint: Path) -> int:
    """The stage that DeepSpeed itself wrote beside the optimizer's state."""
    (shard,) = checkpoint.glob("global_step*/*_optim_states.pt")
    with zipfile.ZipFile(shard) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        document = CheckpointReader(io.BytesIO(archive.read(name))).load()
    return int(document["optimizer_state_dict"]["zero_stage"].arguments[0])


@pytest.mark.parametrize(("stage", "method", "launcher"), ONE_RANK)
def test_one_rank_trains_and_saves(
    stage: int, method: str, launcher: str, one_rank_runs: dict[tuple[int, str, str], Future[Run]]
) -> None:
    run = one_rank_runs[stage, method, launcher].result()

    (begin,) = events(run, "begin")
    assert (begin["step"], begin["total"], begin["ranks"], begin["attempt"]) == (0, STEPS, 1, 1)
    logs = events(run, "log")
    assert [record["step"] for record in logs] == list(range(1, STEPS + 1))
    assert all(math.isfinite(record["loss"]) and record["grad_norm"] > 0 for record in logs)
    assert all(record["tokens_per_s"] > 0 and record["s_per_step"] > 0 for record in logs)
    tokens = [record["tokens"] for record in logs]
    assert tokens == sorted(set(tokens))
    assert logs[-1]["eta_s"] == 0
    if method == "full":
        assert logs[-1]["loss"] < logs[0]["loss"]
    assert [record["path"] for record in events(run, "save")] == ["checkpoint-4", f"checkpoint-{STEPS}"]
    assert run.metrics()[-1]["event"] == "end" and run.metrics()[-1]["stopped"] is False
    for step in (4, STEPS):
        assert missing_from_checkpoint(run.path / "output" / f"checkpoint-{step}", ranks=1) == []
    weights = "adapter_model.safetensors" if method == "lora" else "model.safetensors"
    assert (run.path / "output" / f"checkpoint-{STEPS}" / weights).exists()
    assert (run.path / "output" / "training_loss.png").exists() == ((stage, method) == PLOTTED)
    assert zero_stage_of(run.path / "output" / f"checkpoint-{STEPS}") == stage


@pytest.mark.parametrize("method", ["full", "lora"])
def test_two_ranks_stop_with_a_checkpoint_and_resume_from_it(
    method: str, trainer_python: Path, model: Path, tmp_path: Path
) -> None:
    launcher = "torchrun" if method == "full" else "deepspeed"
    sets = ["zero_stage=2", "gpus=2", f"method={method}", f"launcher={launcher}", "max_steps=5000"]
    run = make_run(tmp_path / "run", trainer_python, model, *sets, "save_steps=4000", "logging_steps=1")
    train = step_named(run.prepared, "train")

    process = run.start(train)
    end = time.monotonic() + DEADLINE_S
    while not events(run, "log"):
        assert process.poll() is None and time.monotonic() < end, (run.path / "log").read_text()[-6000:]
        time.sleep(0.1)
    (run.path / "stop.json").write_text(json.dumps({"force": False, "at": time.time()}))
    run.wait(process)

    last = run.metrics()[-1]
    assert last["event"] == "end" and last["stopped"] is True
    stopped_at = last["step"]
    assert stopped_at == int((run.path / "stop_at").read_text())
    checkpoint = run.path / "output" / f"checkpoint-{stopped_at}"
    assert [record["path"] for record in events(run, "save")] == [checkpoint.name]
    assert missing_from_checkpoint(checkpoint, ranks=2) == []

    (run.path / "stop.json").unlink()
    (run.path / "proc.json").write_text(json.dumps({"attempt": 2}))
    before = len(run.metrics())
    total = stopped_at + 8
    run.wait(run.start(train, f"resume_from_checkpoint={checkpoint}", f"max_steps={total}"))

    resumed = run.metrics()[before:]
    assert (resumed[0]["event"], resumed[0]["step"], resumed[0]["attempt"]) == ("begin", stopped_at, 2)
    logs = [record for record in resumed if record["event"] == "log"]
    assert [record["step"] for record in logs] == list(range(stopped_at + 1, total + 1))
    took_s = logs[-1]["t"] - resumed[0]["t"]
    assert all(record["eta_s"] <= (total - record["step"]) * took_s for record in logs)
    assert sum(record["s_per_step"] for record in logs) == pytest.approx(took_s, rel=0.2, abs=0.2)
    tokens_of_attempt = logs[-1]["tokens"] - logs[0]["tokens"]
    assert logs[-1]["tokens_per_s"] <= 3 * tokens_of_attempt / (logs[-1]["t"] - logs[0]["t"])
    assert resumed[-1]["event"] == "end" and resumed[-1]["stopped"] is False
