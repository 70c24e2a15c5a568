"""What is true of a run right now: derived from files, locks and processes, never from a stored word."""

from __future__ import annotations

import time
from typing import Any

from remote_agent import metrics_tail
from remote_agent.documents import read_json
from remote_agent.identity import Identity, Proc
from remote_agent.places import Places
from remote_agent.protocol import ENDED, STATES, RunStatus
from remote_agent.runs import RunDirectory, existing_run, list_runs, lock_held

#: A run without a supervisor is given this long to get one before it counts as lost.
NEVER_STARTED_S = 60.0
#: A status is about 1 kB of JSON, and all of them go out at each change of any.
MAX_LISTED = 2000

NEVER_STARTED = "it was never started: the agent died first; launch it again"
RESTARTED = "the machine was restarted while it ran; resume it from its last checkpoint"
GONE = (
    "its supervisor and its job are gone, so the exit code is not known; resume it from its last checkpoint"
)


def all_runs(places: Places, *, proc: Proc = Proc()) -> list[RunStatus]:  # noqa: B008
    """Return the status of every run, oldest first."""
    return [run_status(places, directory, proc) for directory in list_runs(places)]


def worth_listing(runs: list[RunStatus]) -> list[RunStatus]:
    """Leave out the oldest of the ended runs where there are more than a client can be told at once."""
    surplus = len(runs) - MAX_LISTED
    if surplus <= 0:
        return runs
    dropped = {run.run for run in [run for run in runs if run.state in ENDED][:surplus]}
    return [run for run in runs if run.run not in dropped]


def status(places: Places, run: str, *, proc: Proc = Proc()) -> RunStatus:  # noqa: B008
    """Return the status of one run; raises AgentError (NOT_FOUND) when there is none."""
    return run_status(places, existing_run(places, run), proc)


def run_status(places: Places, directory: RunDirectory, proc: Proc) -> RunStatus:
    """Return everything that is known of one run."""
    spec = read_json(directory.spec) or {}
    record = read_json(directory.proc)
    exit_document = read_json(directory.exit)
    state, message, unsupervised = _state(places, directory, proc, (spec, record, exit_document))
    record, exit_document = record or {}, exit_document or {}
    ended = state in ENDED
    phase = read_json(directory.phase) or {}
    numbers = metrics_tail.newest_numbers(directory.metrics, _offset(record))
    job = Identity.from_json(record.get("job"))
    endpoint = None if ended else read_json(directory.endpoint)
    return RunStatus(
        run=directory.run,
        state=state,
        kind=_text(spec, "kind") or "train",
        preset=_text(spec, "preset"),
        model=_text(spec, "model"),
        phase="done" if state == "finished" else _text(phase, "phase"),
        detail="" if ended else _text(phase, "detail"),
        phase_done=None if ended else _number(phase, "done"),
        phase_total=None if ended else _number(phase, "total"),
        phase_started=None if ended else _number(phase, "started"),
        step=_integer(numbers, "step"),
        total=_integer(numbers, "total"),
        epoch=_number(numbers, "epoch"),
        loss=_number(numbers, "loss"),
        eval_loss=_number(numbers, "eval_loss"),
        lr=_number(numbers, "lr"),
        grad_norm=_number(numbers, "grad_norm"),
        tokens_per_s=_number(numbers, "tokens_per_s"),
        s_per_step=_number(numbers, "s_per_step"),
        eta_s=None if ended else _number(numbers, "eta_s"),
        peak_vram_bytes=_peak(numbers.get("peak_vram_bytes")),
        created=_number(spec, "created"),
        started=_number(record, "started"),
        ended=_number(exit_document, "ended"),
        exit_code=_integer(exit_document, "code"),
        message=message,
        parent=_text(spec, "parent"),
        port=_integer(endpoint or {}, "port"),
        unsupervised=unsupervised,
        pid=job.pid if job and not ended else None,
    )


Documents = tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]


def _state(
    places: Places, directory: RunDirectory, proc: Proc, documents: Documents
) -> tuple[str, str, bool]:
    """Return state, message and whether the job lives without a supervisor."""
    spec, record, exit_document = documents
    if exit_document is not None:
        state = exit_document.get("state")
        return (state if state in STATES else "lost"), _text(exit_document, "message"), False
    boot = proc.boot()
    held = lock_held(places.run_lock(directory.run))
    if record is None:
        return _without_record(directory, spec, boot, held)
    supervisor = record.get("supervisor") or {}
    if supervisor.get("boot") != boot and not held:
        return "lost", RESTARTED, False
    job = Identity.from_json(record.get("job"))
    if held:
        return _supervised(directory, spec, record, job), "", False
    if proc.alive(job):
        return ("stopping" if directory.stop.exists() else "running"), "", True
    if directory.exit.exists():
        # It ended between the first look and this one.
        return _state(places, directory, proc, (spec, record, read_json(directory.exit) or {}))
    return "lost", GONE, False


def _without_record(
    directory: RunDirectory, spec: dict[str, Any], boot: str, held: bool
) -> tuple[str, str, bool]:
    if held:
        return ("stopping" if directory.stop.exists() else "preparing"), "", False
    created = _number(spec, "created_boottime_s")
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - created if created is not None else NEVER_STARTED_S
    if spec.get("boot") == boot and age_s < NEVER_STARTED_S:
        return "preparing", "", False
    return "lost", NEVER_STARTED, False


def _supervised(
    directory: RunDirectory, spec: dict[str, Any], record: dict[str, Any], job: Identity | None
) -> str:
    if directory.stop.exists():
        return "stopping"
    if job is None:
        return "preparing"
    if spec.get("kind") == "serve":
        return "running" if directory.endpoint.exists() else "starting"
    if spec.get("kind") == "export":
        return "running"
    begun = metrics_tail.first_begin(directory.metrics, _offset(record))
    return "running" if begun is not None else "starting"


def _offset(record: dict[str, Any]) -> int:
    offset = record.get("metrics_offset")
    return offset if type(offset) is int and offset >= 0 else 0


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _number(document: dict[str, Any], key: str) -> float | None:
    value = document.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _integer(document: dict[str, Any], key: str) -> int | None:
    value = document.get(key)
    return value if type(value) is int else None


def _peak(value: object) -> int | None:
    """Return the largest of the per-rank peaks, in bytes."""
    peaks = [peak for peak in value if type(peak) is int] if isinstance(value, list) else []
    return max(peaks, default=None)
