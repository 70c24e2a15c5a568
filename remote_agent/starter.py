"""Start a run's supervisor so that it is nobody's child, and hear whether it came up."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict

from remote_agent import failpoints, program
from remote_agent.documents import write_all
from remote_agent.errors import AgentError
from remote_agent.job_environment import inherited
from remote_agent.places import Places
from remote_agent.protocol import FAILED
from remote_agent.runs import RunDirectory
from remote_agent.supervise import Order

MAX_ANSWER_BYTES = 4096


def start_supervisor(places: Places, directory: RunDirectory, order: Order) -> None:
    """Start it and return once it has recorded itself.

    The order, secrets included, goes through a pipe: never argv, never disk. Raises AgentError with the
    supervisor's own words, OSError when no process can be started.
    """
    start_read, start_write = os.pipe()
    ready_read, ready_write = os.pipe()
    try:
        argv = program.command(
            "supervise", directory.run, "--start", str(start_read), "--ready", str(ready_write)
        )
        _spawn(argv, places, directory, (start_read, ready_write))
    except OSError:
        os.close(start_write)
        os.close(ready_read)
        raise
    finally:
        os.close(start_read)
        os.close(ready_write)
    failpoints.reached("launch-after-start")
    answer = _exchange(order, start_write, ready_read)
    failpoints.reached("launch-after-ready")
    if answer != "ready":
        raise AgentError(
            FAILED,
            f"the run {directory.run} could not be started: {answer or 'its supervisor died'}",
            remedy=f"look at finetui logs {directory.run}",
        )


def _spawn(argv: list[str], places: Places, directory: RunDirectory, pass_fds: tuple[int, int]) -> None:
    """Run the first of the supervisor's two forks, which ends at once."""
    environment = {**inherited(os.environ), **places.as_environment()}
    failpoint = os.environ.get("FINETUI_FAILPOINT")
    if failpoint:
        environment["FINETUI_FAILPOINT"] = failpoint
    with directory.log.open("ab") as log:
        subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory.path,
            env=environment,
            pass_fds=pass_fds,
            start_new_session=True,
            check=False,
        )


def _exchange(order: Order, start: int, ready: int) -> str:
    """Send the order and return the answer, "" when the supervisor is gone."""
    try:
        write_all(start, json.dumps(asdict(order)).encode())
    except BrokenPipeError:
        pass
    finally:
        os.close(start)
    with os.fdopen(ready, "rb") as pipe:
        return pipe.read(MAX_ANSWER_BYTES).decode(errors="replace").strip()
