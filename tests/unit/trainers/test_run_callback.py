"""The metrics of a training, and how ranks agree on the step to stop at, without torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from remote_agent.trainers.callback import RunCallback


@dataclass
class State:
    global_step: int = 0
    max_steps: int = 100
    epoch: float = 0.0
    num_input_tokens_seen: int = 0


@dataclass
class Control:
    should_save: bool = False
    should_evaluate: bool = False
    should_training_stop: bool = False


@dataclass
class Training:
    """One rank of a training with a clock of its own; ``step`` is what the trainer does for each step."""

    run_dir: Path
    rank: int = 0
    ranks: int = 1
    state: State = field(default_factory=State)
    now: float = 1000.0
    peak: int | None = None

    def __post_init__(self) -> None:
        self.callback = RunCallback(
            self.run_dir,
            self.rank,
            self.ranks,
            peak_vram=lambda: self.peak,
            clock=lambda: self.now,
            wall=lambda: 5e8 + self.now,
        )
        self.callback.on_train_begin(None, self.state, Control())

    def step(self, seconds: float = 1.0, tokens: int = 500, **logs: Any) -> Control:
        control = Control()
        self.now += seconds
        self.state.global_step += 1
        self.state.num_input_tokens_seen += tokens
        self.callback.on_step_end(None, self.state, control)
        if logs:
            self.callback.on_log(None, self.state, control, logs=logs)
        return control

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.run_dir / "metrics.jsonl").read_text().splitlines()]


def test_a_log_has_everything_that_the_screen_shows(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.step(seconds=2.0)
    training.step(seconds=2.0, loss=2.5, learning_rate=1e-4, grad_norm=0.75)

    begin, log = training.metrics()
    assert begin == {
        "event": "begin", "t": 5e8 + 1000, "step": 0, "ranks": 1, "attempt": 1, "total": 100,
    }  # fmt: skip
    assert log == {
        "event": "log", "t": 5e8 + 1004, "step": 2, "total": 100, "epoch": 0.0, "loss": 2.5, "lr": 1e-4,
        "grad_norm": 0.75, "tokens": 1000, "tokens_per_s": 250.0, "s_per_step": 2.0, "eta_s": 196.0,
    }  # fmt: skip


def test_throughput_is_of_the_interval_and_eta_of_the_whole_attempt(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.step(seconds=9.0, loss=3.0)
    training.step(seconds=1.0, loss=2.0)

    log = training.metrics()[-1]
    assert (log["tokens_per_s"], log["s_per_step"]) == (500.0, 1.0)
    assert log["eta_s"] == 98 * 5.0


def test_after_a_resume_eta_and_throughput_count_from_the_resumed_step(tmp_path: Path) -> None:
    (tmp_path / "proc.json").write_text('{"attempt": 3}')
    training = Training(tmp_path, state=State(global_step=80, num_input_tokens_seen=40_000))
    training.step(seconds=2.0, loss=1.0)

    begin, log = training.metrics()
    assert (begin["step"], begin["attempt"]) == (80, 3)
    assert (log["eta_s"], log["tokens_per_s"]) == (38.0, 250.0)


def test_numbers_that_are_not_finite_are_named(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.step(loss=math.nan, grad_norm=math.inf, learning_rate=1e-4)

    log = training.metrics()[-1]
    assert (log["loss"], log["grad_norm"], log["lr"]) == (None, None, 1e-4)
    assert log["nonfinite"] == ["loss", "grad_norm"]


def test_text_that_transformers_logs_is_read_as_numbers(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.step(loss="5.87", grad_norm="1.2", learning_rate="0.0001")

    log = training.metrics()[-1]
    assert (log["loss"], log["grad_norm"], log["lr"]) == (5.87, 1.2, 1e-4)


def test_logs_without_a_loss_are_not_a_point_of_the_chart(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.step(train_runtime=3.0, train_loss=1.0)

    assert [record["event"] for record in training.metrics()] == ["begin"]


def test_peak_vram_has_every_rank_in_order(tmp_path: Path) -> None:
    second = Training(tmp_path, rank=1, ranks=2, peak=7_000)
    first = Training(tmp_path, rank=0, ranks=2, peak=9_000)
    second.step(loss=1.0)
    first.step(loss=1.0)

    assert first.metrics()[-1]["peak_vram_bytes"] == [9_000, 7_000]


def test_only_rank_0_writes_metrics_and_phases(tmp_path: Path) -> None:
    Training(tmp_path, rank=1, ranks=2).step(loss=1.0)

    assert list(tmp_path.iterdir()) == []


def test_evaluation_save_and_end_are_events(tmp_path: Path) -> None:
    training = Training(tmp_path, state=State(max_steps=1))
    training.step(loss=1.0)
    training.now += 3.0
    training.callback.on_evaluate(None, training.state, Control(should_save=True), metrics={"eval_loss": 0.5})
    training.now += 1.5
    training.callback.on_save(None, training.state, Control())
    training.callback.on_train_end(None, training.state, Control())

    evaluation, save, end = training.metrics()[-3:]
    assert (evaluation["event"], evaluation["eval_loss"], evaluation["step"]) == ("eval", 0.5, 1)
    assert (save["event"], save["path"], save["seconds"]) == ("save", "checkpoint-1", 1.5)
    assert (end["event"], end["step"], end["stopped"]) == ("end", 1, False)


def test_the_phase_says_saving_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.state.global_step = 50
    training.callback.on_step_end(None, training.state, Control(should_save=True))
    assert json.loads((tmp_path / "phase.json").read_text())["phase"] == "saving"

    training.callback.on_save(None, training.state, Control())
    assert json.loads((tmp_path / "phase.json").read_text())["phase"] == "training"


def test_all_ranks_stop_and_save_at_the_same_step(tmp_path: Path) -> None:
    ranks = [Training(tmp_path, rank=rank, ranks=3) for rank in range(3)]
    for rank in ranks:
        rank.step()
    (tmp_path / "stop.json").write_text('{"force": false, "at": 0}')

    stops: dict[int, int] = {}
    for _ in range(4):
        # The slowest order for the message: rank 0, which writes it, ends each step last.
        for rank in reversed(ranks):
            if rank.rank in stops:
                continue
            control = rank.step()
            assert control.should_save == control.should_training_stop
            if control.should_training_stop:
                stops[rank.rank] = rank.state.global_step
    assert stops == {0: 4, 1: 4, 2: 4}


def test_the_end_says_that_it_was_stopped(tmp_path: Path) -> None:
    training = Training(tmp_path)
    (tmp_path / "stop.json").write_text("{}")
    while not training.step().should_training_stop:
        pass
    training.callback.on_train_end(None, training.state, Control())

    assert (training.metrics()[-1]["stopped"], training.metrics()[-1]["step"]) == (True, 3)


def test_a_stop_of_an_earlier_attempt_does_not_stop_this_one(tmp_path: Path) -> None:
    (tmp_path / "stop_at").write_text("81\n")
    training = Training(tmp_path, state=State(global_step=81))

    assert not training.step().should_training_stop


def test_a_torn_line_costs_no_record_of_ours(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"event":"log","st')
    Training(tmp_path)

    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["event"] == "begin"


def test_a_disk_that_refuses_is_reported_once_and_training_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    training = Training(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").mkdir()
    for _ in range(3):
        training.step(loss=1.0)
    training.callback.on_save(None, training.state, Control())

    said = capfd.readouterr().err
    assert said.count("metrics may be incomplete") == 1
