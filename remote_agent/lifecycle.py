"""What can be done to a run: launch, stop, resume, delete. Each can be sent again when its reply was lost."""

from __future__ import annotations

import os
import secrets as randomness
import shutil
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from remote_agent import checkpoints, failpoints, job_spec
from remote_agent.conclusion import reserve_room
from remote_agent.documents import read_json, sync_directory, write_json
from remote_agent.errors import AgentError, from_os_error
from remote_agent.identity import Identity, Proc, send
from remote_agent.job_watch import write_stop
from remote_agent.places import Places
from remote_agent.prepared import place_files
from remote_agent.protocol import CONFLICT, ENDED, INVALID_PARAMS, REFUSED, Checkpoint, RunStatus
from remote_agent.runs import RunDirectory, changing, existing_run, list_runs, lock_held, run_directory
from remote_agent.starter import start_supervisor
from remote_agent.status import run_status
from remote_agent.supervise import Order, boottime_s
from remote_agent.sweep import carriers, kill_all

#: A supervisor takes 0.3 s to come up, most of it the interpreter's.
ADOPTIONS_AT_ONCE = 8


def launch(  # noqa: PLR0917
    places: Places,
    run: str,
    spec: Mapping[str, Any],
    spec_sha: str,
    files: Mapping[str, str],
    secrets: Mapping[str, str],
    *,
    proc: Proc = Proc(),  # noqa: B008
) -> RunStatus:
    """Create the run and start it; one that was launched already with the same spec is returned as it is.

    ``files`` maps a path in ``prepared/`` to the SHA-256 of an uploaded blob. Raises AgentError:
    CONFLICT when the id belongs to another spec, NOT_FOUND for a missing blob, NO_SPACE, FAILED when no
    supervisor starts.
    """
    directory = run_directory(places, run)
    job_spec.parse(spec)
    _check_secrets(secrets)
    places.create()
    with changing(places, run):
        known = read_json(directory.spec)
        if known is None:
            document = {**spec, "run": run, "spec_sha": spec_sha, "boot": proc.boot()}
            _create(places, directory, document, files)
        elif known.get("spec_sha") != spec_sha:
            raise AgentError(
                CONFLICT,
                f"the run {run} exists with another spec",
                remedy="launch with a new id; a run's spec never changes",
            )
        if not directory.proc.exists() and not directory.exit.exists():
            _start(places, directory, Order(attempt=1, secrets=dict(secrets)))
    return run_status(places, directory, proc)


def stop(places: Places, run: str, *, force: bool = False, proc: Proc = Proc()) -> RunStatus:  # noqa: B008
    """Ask the run to stop and return at once; of an ended run only strays are killed."""
    directory = existing_run(places, run)
    status = run_status(places, directory, proc)
    if status.state in ENDED:
        _kill_strays(directory, proc)
        return status
    try:
        write_stop(directory, force=force)
    except OSError as error:
        raise from_os_error(error, f"ask the run {run} to stop") from error
    record = read_json(directory.proc) or {}
    if not send(Identity.from_json(record.get("supervisor")), signal.SIGUSR1, proc):
        adopt(places, directory, proc)
    return run_status(places, directory, proc)


def resume(
    places: Places,
    run: str,
    step: int | None,
    secrets: Mapping[str, str],
    *,
    proc: Proc = Proc(),  # noqa: B008
) -> RunStatus:
    """Continue an ended run from the checkpoint at ``step``, or from its newest.

    A live run is returned as it is. Raises AgentError when there is nothing to resume from, or when
    processes of the run are left.
    """
    directory = existing_run(places, run)
    _check_secrets(secrets)
    with changing(places, run):
        status = run_status(places, directory, proc)
        if status.state not in ENDED:
            return status
        spec = job_spec.parse(read_json(directory.spec))
        if spec.resume is None:
            raise AgentError(REFUSED, f"the run {run} can't be resumed: its spec names no step to resume")
        _refuse_strays(directory, proc)
        chosen = _choose(directory, spec.ranks, step)
        record = read_json(directory.proc) or {}
        attempt = int(record.get("attempt") or 1)
        try:
            _clear_for_resume(directory, attempt, chosen, status)
        except OSError as error:
            raise from_os_error(error, f"prepare the run {run} for a resume") from error
        _start(places, directory, Order(attempt + 1, dict(secrets), checkpoint=chosen.path))
    return run_status(places, directory, proc)


def delete(places: Places, run: str, *, proc: Proc = Proc()) -> int:  # noqa: B008
    """Remove an ended run and return the bytes that were freed.

    Raises AgentError when it has not ended, when a server of it has not, or when processes of it are left.
    """
    directory = existing_run(places, run)
    with changing(places, run):
        _refuse_unless_over(places, directory, proc)
        places.trash.mkdir(exist_ok=True)
        grave = places.trash / f"{run}-{randomness.token_hex(4)}"
        try:
            freed = disk_bytes(directory.path)
            directory.path.rename(grave)
            sync_directory(places.runs)
        except OSError as error:
            raise from_os_error(error, f"delete the run {run}") from error
        shutil.rmtree(grave, ignore_errors=True)
        places.run_lock(run).unlink(missing_ok=True)
    return freed


def adopt(places: Places, directory: RunDirectory, proc: Proc) -> None:
    """Give a run whose supervisor died a new one, which sees it to its end; does nothing to any other run."""
    with changing(places, directory.run):
        if directory.exit.exists() or lock_held(places.run_lock(directory.run)):
            return
        record = read_json(directory.proc) or {}
        order = Order(attempt=int(record.get("attempt") or 1), secrets={}, adopt=True)
        _start(places, directory, order)


def orphans(places: Places, *, proc: Proc = Proc()) -> list[RunDirectory]:  # noqa: B008
    """Return the runs of this boot that have not ended and whose supervisor is gone.

    A run that was never started is not among them: it is left to its client, who has its secrets.
    """
    boot = proc.boot()
    found = []
    for directory in list_runs(places):
        if directory.exit.exists() or lock_held(places.run_lock(directory.run)):
            continue
        supervisor = (read_json(directory.proc) or {}).get("supervisor")
        if isinstance(supervisor, dict) and supervisor.get("boot") == boot:
            found.append(directory)
    return found


def recover(
    places: Places,
    *,
    leave_out: frozenset[str] = frozenset(),
    proc: Proc = Proc(),  # noqa: B008
) -> list[str]:
    """Adopt every orphan, several at a time, and return those that could not be adopted.

    The log of such a run says why; ``leave_out`` names runs that are not to be tried again yet.
    """
    found = [directory for directory in orphans(places, proc=proc) if directory.run not in leave_out]
    if not found:
        return []
    with ThreadPoolExecutor(ADOPTIONS_AT_ONCE) as pool:
        adopted = pool.map(lambda directory: _try_to_adopt(places, directory, proc), found)
        return [directory.run for directory, done in zip(found, adopted, strict=True) if not done]


def _try_to_adopt(places: Places, directory: RunDirectory, proc: Proc) -> bool:
    try:
        adopt(places, directory, proc)
    except AgentError:
        return False
    return True


def disk_bytes(path: Path) -> int:
    """Return what ``path`` occupies on disk in bytes; hard links that live on elsewhere are not counted."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))  # noqa: PTH118
            except FileNotFoundError:
                continue
            if found.st_nlink == 1:
                total += found.st_blocks * 512
    return total


def _create(
    places: Places,
    directory: RunDirectory,
    document: dict[str, Any],
    files: Mapping[str, str],
) -> None:
    """Make the run directory; spec.json is written last and makes it a run."""
    try:
        directory.path.mkdir(exist_ok=True, mode=0o700)
        failpoints.reached("launch-after-mkdir")
        place_files(places, directory.prepared, files)
        for folder in (directory.output, directory.attempts):
            folder.mkdir(exist_ok=True)
        directory.log.touch(mode=0o600)
        reserve_room(directory)
        now = {"created": time.time(), "created_boottime_s": boottime_s()}
        write_json(directory.spec, {**document, **now})
        sync_directory(places.runs)
    except OSError as error:
        shutil.rmtree(directory.path, ignore_errors=True)
        raise from_os_error(error, f"create the run {directory.run}") from error
    except AgentError:
        shutil.rmtree(directory.path, ignore_errors=True)
        raise
    failpoints.reached("launch-after-spec")


def _start(places: Places, directory: RunDirectory, order: Order) -> None:
    try:
        start_supervisor(places, directory, order)
    except OSError as error:
        raise from_os_error(error, f"start the supervisor of {directory.run}") from error


def _check_secrets(secrets: Mapping[str, str]) -> None:
    for name, value in secrets.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise AgentError(INVALID_PARAMS, "a secret has a name or a value that no environment can hold")


def _choose(directory: RunDirectory, ranks: int, step: int | None) -> Checkpoint:
    found = [item for item in checkpoints.in_run(directory, ranks) if item.resumable]
    if step is not None:
        found = [item for item in found if item.step == step]
    if not found:
        which = f"no complete checkpoint at step {step}" if step is not None else "no complete checkpoint"
        raise AgentError(
            REFUSED,
            f"the run {directory.run} has {which} to resume from",
            remedy=f"finetui checkpoints {directory.run} lists what there is; else launch a new run",
        )
    return max(found, key=lambda item: item.step)


def _clear_for_resume(directory: RunDirectory, attempt: int, chosen: Checkpoint, status: RunStatus) -> None:
    """Put the earlier attempt aside; may be cut at any point and done again."""
    superseded = directory.output / f"superseded-{attempt}"
    for step, path in checkpoints.folders(directory.output):
        if step > chosen.step:
            superseded.mkdir(exist_ok=True)
            path.rename(superseded / path.name)
    for path in (directory.stop, directory.stop_at, directory.endpoint):
        path.unlink(missing_ok=True)
    with directory.log.open("ab") as log:
        name = Path(chosen.path).name
        log.write(f"\n=== attempt {attempt + 1}: resumed from {name} ===\n".encode())
    if not directory.reserve.exists():
        reserve_room(directory)
    directory.attempts.mkdir(exist_ok=True)
    if directory.exit.exists():
        directory.exit.rename(directory.attempts / f"{attempt}.json")
    else:
        write_json(directory.attempts / f"{attempt}.json", {"state": status.state, "message": status.message})
    sync_directory(directory.path)


def _refuse_unless_over(places: Places, directory: RunDirectory, proc: Proc) -> None:
    run = directory.run
    if run_status(places, directory, proc).state not in ENDED:
        raise AgentError(
            CONFLICT, f"the run {run} has not ended", remedy=f"stop it first: finetui stop {run}"
        )
    for other in list_runs(places):
        parent = (read_json(other.spec) or {}).get("parent")
        serves = isinstance(parent, str) and parent.split("@")[0] == run
        if serves and run_status(places, other, proc).state not in ENDED:
            raise AgentError(
                CONFLICT,
                f"the run {run} is being served by {other.run}",
                remedy=f"stop the server first: finetui stop {other.run}",
            )
    _refuse_strays(directory, proc)


def _strays(directory: RunDirectory, proc: Proc) -> list[Identity]:
    cookie = (read_json(directory.proc) or {}).get("cookie")
    return carriers(proc, cookie) if isinstance(cookie, str) else []


def _refuse_strays(directory: RunDirectory, proc: Proc) -> None:
    strays = _strays(directory, proc)
    if strays:
        pids = ", ".join(str(identity.pid) for identity in strays)
        raise AgentError(
            CONFLICT,
            f"processes of the run {directory.run} are left: {pids}",
            remedy=f"kill them first: finetui stop {directory.run} --force",
        )


def _kill_strays(directory: RunDirectory, proc: Proc) -> None:
    kill_all(proc, lambda: _strays(directory, proc), lambda: None)
