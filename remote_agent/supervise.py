"""The role of one run: start its steps one after another, stop it when asked, record exactly how it ended.

Lives as long as the run, in a session of its own, and holds run.lock for life. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets as randomness
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote_agent import (
    conclusion,
    environments,
    failpoints,
    job_environment,
    job_spec,
    metrics_tail,
    notify,
    program,
    spawn,
)
from remote_agent.conclusion import Outcome
from remote_agent.documents import read_json, write_json
from remote_agent.errors import AgentError
from remote_agent.gpu_ledger import GpuLedger
from remote_agent.identity import Identity, Proc
from remote_agent.job_environment import Interpreter
from remote_agent.job_spec import JobSpec, Step
from remote_agent.job_watch import JobWatch
from remote_agent.places import Places
from remote_agent.runs import RunDirectory, existing_run, list_runs, lock_held, take_lock
from remote_agent.sweep import COOKIE_VARIABLE
from remote_agent.waker import Waker, become_subreaper

#: What a probe of the lock by somebody else may delay us.
LOCK_PATIENCE_S = 2.0
#: Cleaners of /tmp remove what was not touched for days.
TOUCH_EVERY_S = 3600.0
MAX_ORDER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Order:
    """What the starter sends through the start pipe; secrets travel this way and are never stored."""

    attempt: int
    secrets: dict[str, str]
    checkpoint: str = ""
    #: Take over a run whose supervisor is gone, instead of starting anything.
    adopt: bool = False


def main(argv: list[str]) -> int:
    """Run the role: ``supervise RUN --start FD --ready FD``."""
    parser = argparse.ArgumentParser(prog="supervise")
    parser.add_argument("run")
    parser.add_argument("--start", type=int, required=True)
    parser.add_argument("--ready", type=int, required=True)
    options = parser.parse_args(argv)
    if os.fork() > 0:
        return 0
    os.setsid()
    for descriptor in (options.start, options.ready):
        os.set_inheritable(descriptor, False)
    order = _read_order(options.start)
    if order is None:
        return 1
    try:
        return _supervise(options.run, order, options.ready)
    except AgentError as error:
        _answer(options.ready, error.message)
        return 1
    except OSError as error:
        print(f"finetui: the supervisor failed: {error}", file=sys.stderr)  # noqa: T201
        _answer(options.ready, f"the supervisor could not start: {error}")
        return 1


def _read_order(descriptor: int) -> Order | None:
    """Return the starter's order, None when the starter died before it had sent it."""
    with os.fdopen(descriptor, "rb") as pipe:
        data = pipe.read(MAX_ORDER_BYTES)
    try:
        return Order(**json.loads(data))
    except (ValueError, TypeError):
        return None


def _answer(descriptor: int, text: str) -> None:
    """Tell the starter; one that is gone can ask again."""
    try:
        os.write(descriptor, text.encode() + b"\n")
        os.close(descriptor)
    except OSError:
        return


def _supervise(run: str, order: Order, ready: int) -> int:
    places = Places.from_environment(os.environ)
    directory = existing_run(places, run)
    lock = _take(places.run_lock(run))
    if lock is None or _already_started(directory, order):
        # Somebody was faster; the run is as well off as if we had started it.
        _answer(ready, "ready")
        return 0
    supervision = Supervision(places, directory, order, lock)
    failpoints.reached("supervise-before-proc")
    supervision.record()
    _answer(ready, "ready")
    supervision.run()
    return 0


def _take(path: Path) -> int | None:
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        descriptor = take_lock(path)
        if descriptor is not None or time.monotonic() >= deadline:
            return descriptor
        time.sleep(0.02)


def _already_started(directory: RunDirectory, order: Order) -> bool:
    if directory.exit.exists():
        return True
    known = read_json(directory.proc)
    return not order.adopt and known is not None and known.get("attempt", 0) >= order.attempt


class Supervision:
    """One attempt at one run, from its first record to its exit document."""

    def __init__(self, places: Places, directory: RunDirectory, order: Order, lock: int) -> None:
        self._places = places
        self._directory = directory
        self._order = order
        self._lock = lock
        self._proc = Proc()
        self._spec: JobSpec = job_spec.parse(read_json(directory.spec))
        self._notify_url = order.secrets.get(notify.URL_SECRET, "")
        self._job_secrets = {
            name: value for name, value in order.secrets.items() if name != notify.URL_SECRET
        }
        self._log = os.open(directory.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._oom_kills = conclusion.oom_kills()
        self._touched = time.monotonic()
        self._gpus = GpuLedger()
        self._record: dict[str, Any] = self._first_record()
        become_subreaper()
        self._watch = JobWatch(
            directory=directory,
            proc=self._proc,
            waker=Waker(),
            cookie=self._record["cookie"],
            metrics_offset=self._record["metrics_offset"],
            graceful_save_s=self._spec.graceful_save_s,
            grace_s=self._spec.grace_s,
            beat=self._keep_lock_fresh,
        )

    def record(self, **changes: Any) -> None:
        """Write proc.json with these values changed."""
        self._record.update(changes)
        write_json(self._directory.proc, self._record)

    def run(self) -> None:
        """Run or adopt the job, and write how it ended."""
        try:
            self._directory.output.mkdir(exist_ok=True)
            step, outcome = self._adopt() if self._order.adopt else self._run_steps()
        except OSError as error:
            step, outcome = self._record["step"] or "the run", Outcome(error=str(error))
        self._conclude(step, outcome)

    def _first_record(self) -> dict[str, Any]:
        earlier = read_json(self._directory.proc) or {}
        me = self._proc.identify(os.getpid())
        if self._order.adopt and earlier:
            return {**earlier, "supervisor": me.to_json() if me else None}
        return {
            "attempt": self._order.attempt,
            "supervisor": me.to_json() if me else None,
            "job": None,
            "step": "",
            "argv": [],
            "environment": None,
            "started": time.time(),
            "started_boottime_s": boottime_s(),
            "cookie": earlier.get("cookie") or f"{self._directory.run}.{randomness.token_hex(8)}",
            "metrics_offset": metrics_tail.size(self._directory.metrics),
            "checkpoint": self._order.checkpoint,
        }

    def _adopt(self) -> tuple[str, Outcome]:
        job = Identity.from_json(self._record.get("job"))
        step = str(self._record.get("step") or "the run")
        if job is None or not self._proc.alive(job):
            self._watch.sweep()
            return step, Outcome()
        return step, self._watch.adopted(job, can_save=self._can_save(step))

    def _say(self, sentence: str) -> None:
        """Put one line of ours into the run's log, unless the disk refuses it."""
        with suppress(OSError):
            os.write(self._log, f"finetui: {sentence}\n".encode())

    def _run_steps(self) -> tuple[str, Outcome]:
        self._gpus.open(self._say)
        interpreter = Interpreter(sys.executable, str(Path(sys.executable).parent))
        if self._spec.needs_environment:
            outcome = self._build_environment()
            if outcome.code != 0 or self._watch.stop_request() is not None:
                return "environment", outcome
            built = read_json(self._directory.environment) or {}
            if not isinstance(built.get("python"), str) or not isinstance(built.get("bin"), str):
                return "environment", Outcome(error="the builder did not say where the environment is")
            interpreter = Interpreter(built["python"], built["bin"])
            self.record(environment=built)
        step, outcome = Step("", ()), Outcome(code=0)
        for step in self._steps():
            if self._watch.stop_request() is not None:
                return step.name, Outcome(code=0)
            outcome = self._run_step(step, interpreter)
            if outcome.code != 0:
                break
        return step.name, outcome

    def _steps(self) -> list[Step]:
        """Return what this attempt runs: a resume leaves out what needs doing once."""
        resume = self._spec.resume
        if not self._order.checkpoint or resume is None:
            return list(self._spec.steps)
        names = [step.name for step in self._spec.steps]
        resumed = names.index(resume.step) if resume.step in names else 0
        steps = []
        for index, step in enumerate(self._spec.steps):
            if index < resumed and step.once:
                continue
            argv = step.argv + resume.argv if index == resumed else step.argv
            steps.append(Step(step.name, argv, step.env, step.once))
        return steps

    def _build_environment(self) -> Outcome:
        built = environments.find(self._directory.path, self._places, os.environ)
        if built:
            write_json(self._directory.environment, built)
            return Outcome(code=0)
        self._say_phase("environment")
        env = {**job_environment.inherited(os.environ), **self._places.as_environment(), **self._own()}
        argv = program.command("environment", "--run", str(self._directory.path))
        return self._start_and_watch("environment", argv, env, can_save=False, is_job=False)

    def _run_step(self, step: Step, interpreter: Interpreter) -> Outcome:
        self._say_phase(step.name if step.name == "model" else "loading")
        values = job_environment.placeholders(
            self._places, self._directory, interpreter, self._spec.ranks, self._order.checkpoint
        )
        argv = [job_environment.expand(word, values) for word in step.argv]
        env = job_environment.step_environment(
            os.environ, step, values, self._own(), self._job_secrets, cards=self._gpus.cards
        )
        return self._start_and_watch(step.name, argv, env, can_save=self._can_save(step.name), is_job=True)

    def _start_and_watch(
        self, name: str, argv: list[str], env: dict[str, str], *, can_save: bool, is_job: bool
    ) -> Outcome:
        self._watch.waker.forget()
        held = spawn.hold(argv, cwd=self._directory.prepared, env=env, log=self._log)
        failpoints.reached("supervise-after-fork")
        identity = self._proc.identify(held.pid)
        if is_job:
            self.record(job=identity.to_json() if identity else None, step=name, argv=argv)
        else:
            self.record(step=name, argv=argv)
        error = spawn.release(held)
        failpoints.reached("supervise-running")
        outcome = self._watch.child(held.pid, can_save=can_save)
        return Outcome(error=error) if error else outcome

    def _own(self) -> dict[str, str]:
        return {
            "FINETUI_RUN_DIR": str(self._directory.path),
            "FINETUI_ATTEMPT": str(self._order.attempt),
            COOKIE_VARIABLE: self._record["cookie"],
        }

    def _can_save(self, step: str) -> bool:
        trains = self._spec.resume.step if self._spec.resume else self._spec.steps[-1].name
        return self._spec.kind == "train" and step == trains

    def _say_phase(self, phase: str, *, detail: str = "") -> None:
        document = {"phase": phase, "detail": detail, "done": None, "total": None, "started": time.time()}
        try:
            write_json(self._directory.phase, document)
        except OSError:
            # A full disk must not stop a run for a line on the screen.
            return

    def _keep_lock_fresh(self) -> None:
        now = time.monotonic()
        if now - self._touched >= TOUCH_EVERY_S:
            self._touched = now
            os.utime(self._lock)

    def _conclude(self, step: str, outcome: Outcome) -> None:
        state = conclusion.state_of(
            outcome,
            stop_asked=self._watch.stop_request() is not None,
            reached_the_end=metrics_tail.reached_the_end(
                self._directory.metrics, self._record["metrics_offset"]
            ),
        )
        document = conclusion.exit_document(
            state,
            outcome,
            self._message(state, step, outcome),
            attempt=self._record["attempt"],
            step=step,
            duration_s=boottime_s() - self._record["started_boottime_s"],
        )
        failpoints.reached("supervise-before-exit")
        if state == "finished":
            self._say_phase("done")
        conclusion.write_exit(self._directory, document)
        failpoints.reached("supervise-after-exit")
        os.close(self._lock)  # a resume must not find it held while a server takes its time
        self._notify(document)

    def _notify(self, document: dict[str, Any]) -> None:
        """Tell whoever asked for it that the run has ended; a failure is one line in the log."""
        if not self._spec.notify:
            return
        numbers = metrics_tail.newest_numbers(self._directory.metrics, self._record["metrics_offset"])
        told = {
            "run": self._directory.run,
            "kind": self._spec.kind,
            "preset": self._spec.preset,
            "model": self._spec.model,
            **{key: document[key] for key in ("state", "code", "message", "attempt", "ended", "duration_s")},
            **{key: numbers.get(key) for key in ("step", "total", "loss", "eval_loss")},
        }
        url = self._notify_url
        failure = notify.send(self._spec.notify, url, told) if url else "the address is not known any more"
        if failure:
            self._say(f"the notification could not be sent: {failure}")

    def _message(self, state: str, step: str, outcome: Outcome) -> str:
        parts = []
        if state == "failed":
            parts.append(
                conclusion.failure_message(
                    step,
                    outcome,
                    self._directory.log,
                    oom_kills=conclusion.oom_kills() - self._oom_kills,
                    secrets=self._order.secrets.values(),
                )
            )
        elif outcome.code is None and outcome.signal is None:
            parts.append("the supervisor had died, so the exit code is not known")
        survivors = self._watch.sweep()
        if survivors:
            pids = ", ".join(str(identity.pid) for identity in survivors)
            parts.append(f"these processes could not be killed: {pids}")
        held = self._gpus.held(self._record["cookie"], self._proc, others_live=self._others_live)
        if held:
            parts.append(f"GPU memory is still held: {held}")
        return "; ".join(parts)

    def _others_live(self) -> bool:
        others = [other for other in list_runs(self._places) if other.run != self._directory.run]
        return any(lock_held(self._places.run_lock(other.run)) for other in others)


def boottime_s() -> float:
    """Return seconds since boot, time asleep included; never the wall clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
