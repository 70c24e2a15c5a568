"""Turns a Hugging Face training into metrics.jsonl, and stops it with a checkpoint when asked to.

Works in every trainer that is built on ``transformers.Trainer``. Standard library only, so that it can be
tested without torch: the entry module mixes it with ``transformers.TrainerCallback``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from remote_agent.documents import append_record, read_json, write_json
from remote_agent.trainers.files import PhaseReport, finite, say

#: Rank 0 is at most one step ahead of the slowest rank, so that a stop two steps ahead reaches all in time.
STOP_AHEAD_STEPS = 2


class RunCallback:
    """The events of a training, as ``transformers.TrainerCallback`` names them.

    ``peak_vram`` returns this rank's peak in bytes, or None without a GPU. Never raises into the trainer: a
    disk that refuses to take a file is reported once in the log, and training goes on.
    """

    def __init__(
        self,
        run_dir: Path,
        rank: int,
        ranks: int,
        *,
        peak_vram: Callable[[], int | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._run_dir = run_dir
        self._rank = rank
        self._ranks = ranks
        self._peak_vram = peak_vram
        self._clock = clock
        self._wall = wall
        self._report = PhaseReport(run_dir, active=rank == 0)
        self._stop_at: int | None = None
        self._warned = False
        self._begin_step = self._log_step = self._log_tokens = 0
        self._begun = self._logged = self._left_step = clock()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the attempt's first step; what the previous attempt agreed on is void."""
        self._begun = self._logged = self._left_step = self._clock()
        self._begin_step = self._log_step = int(state.global_step)
        self._log_tokens = _tokens(state)
        self._stop_at = None
        if self._rank == 0:
            self._guarded(lambda: self._stop_file.unlink(missing_ok=True))
            attempt = _attempt(self._run_dir)
            self._write("begin", state, ranks=self._ranks, attempt=attempt, total=int(state.max_steps))
        self._training()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop here when all ranks have agreed on this step; say what comes next when it takes a while."""
        self._left_step = self._clock()
        step = int(state.global_step)
        if self._rank == 0 and self._stop_at is None and (self._run_dir / "stop.json").exists():
            self._guarded(lambda: self._agree_to_stop(step + STOP_AHEAD_STEPS))
        if self._stop_at is None:
            self._stop_at = _read_step(self._stop_file)
        if self._stop_at is not None and step >= self._stop_at:
            control.should_save = True
            control.should_training_stop = True
        if getattr(control, "should_evaluate", False):
            self._report("evaluating", f"step {step}")
        elif getattr(control, "should_save", False):
            self._saving(state)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Write the training loss and what goes with it."""
        if not logs or "loss" not in logs:
            return
        self._share_peak_vram()
        if self._rank == 0:
            self._write("log", state, **self._progress(state, logs))
        self._left_step = self._clock()

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Write the evaluation loss."""
        if self._rank == 0:
            known = {key: _number(value) for key, value in (metrics or {}).items() if key.startswith("eval_")}
            self._write("eval", state, total=int(state.max_steps), epoch=_number(state.epoch), **known)
        self._left_step = self._clock()
        if getattr(control, "should_save", False):
            self._saving(state)
        else:
            self._training()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write that a checkpoint is whole; ``seconds`` from the end of its step."""
        now = self._clock()
        if self._rank == 0:
            path = f"checkpoint-{int(state.global_step)}"
            self._write("save", state, path=path, seconds=round(now - self._left_step, 3))
        self._training()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the end; the trainer saves the final weights after it."""
        stopped = self._stop_at is not None and int(state.global_step) < int(state.max_steps)
        if self._rank == 0:
            self._write("end", state, stopped=stopped)
        self._report("saving", "final weights")

    @property
    def _stop_file(self) -> Path:
        return self._run_dir / "stop_at"

    def _agree_to_stop(self, step: int) -> None:
        temporary = self._stop_file.with_name(f".stop_at.{os.getpid()}")
        temporary.write_text(f"{step}\n", encoding="ascii")
        temporary.replace(self._stop_file)
        say(f"asked to stop: saving a checkpoint at step {step}")

    def _progress(self, state: Any, logs: Mapping[str, Any]) -> dict[str, Any]:
        now = self._clock()
        step, total, tokens = int(state.global_step), int(state.max_steps), _tokens(state)
        seconds, steps = now - self._logged, step - self._log_step
        done = step - self._begin_step
        record: dict[str, Any] = {
            "total": total,
            "epoch": _number(state.epoch),
            "loss": _number(logs["loss"]),
            "lr": _number(logs.get("learning_rate")),
            "grad_norm": _number(logs.get("grad_norm")),
            "tokens": tokens or None,
            "tokens_per_s": (tokens - self._log_tokens) / seconds if tokens and seconds > 0 else None,
            "s_per_step": seconds / steps if steps > 0 else None,
            "eta_s": (now - self._begun) / done * max(0, total - step) if done > 0 else None,
        }
        peaks = self._peaks()
        if peaks:
            record["peak_vram_bytes"] = peaks
        self._logged, self._log_step, self._log_tokens = now, step, tokens
        return record

    def _share_peak_vram(self) -> None:
        peak = self._peak_vram()
        if peak is not None:
            path = self._run_dir / "vram" / f"{self._rank}.json"
            self._guarded(lambda: _write_document(path, {"peak_bytes": peak}))

    def _peaks(self) -> list[int]:
        """Peak of every rank in bytes; a slow rank's is the one of its previous log."""
        documents = [read_json(self._run_dir / "vram" / f"{rank}.json") for rank in range(self._ranks)]
        return [int(document["peak_bytes"]) for document in documents if document]

    def _training(self) -> None:
        # No step in the phase: it is written when training begins and after each save, and would soon be old.
        self._report("training")

    def _saving(self, state: Any) -> None:
        self._report("saving", f"checkpoint-{int(state.global_step)}")

    def _write(self, event: str, state: Any, **values: Any) -> None:
        record = {"event": event, "t": self._wall(), "step": int(state.global_step), **values}
        self._guarded(lambda: append_record(self._run_dir / "metrics.jsonl", finite(record)))

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            if not self._warned:
                self._warned = True
                say(f"metrics may be incomplete, training goes on: {error}")


def _write_document(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    write_json(path, document)


def _attempt(run_dir: Path) -> int:
    document = read_json(run_dir / "proc.json") or {}
    attempt = document.get("attempt")
    return attempt if isinstance(attempt, int) else 1


def _read_step(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _tokens(state: Any) -> int:
    """Tokens seen by all ranks since step 0; 0 when the trainer does not count them."""
    return int(getattr(state, "num_input_tokens_seen", 0) or 0)


def _number(value: Any) -> float | None:
    """Return a float of what a trainer logs: numbers, tensors, or numbers as text."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
