"""Launch a plan on a target."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remote_agent.protocol import RunStatus
from tui.errors import Unreachable
from tui.operations.plan import Plan, refuse_errors, scratch_folder, write_plan
from tui.operations.runs import parse_status
from tui.remote.agent_client import AgentClient
from tui.remote.transfer import OnBytes, upload_folder
from tui.state.history import History
from tui.state.run_id import new_run_id

#: The agent answers once the supervisor lives; a loaded machine takes seconds for that.
_LAUNCH_TIMEOUT_S = 60.0


def launch(
    client: AgentClient,
    plan: Plan,
    *,
    run: str | None = None,
    secrets: Mapping[str, str] | None = None,
    on_bytes: OnBytes | None = None,
) -> RunStatus:
    """Prepare, upload and start a run; return its status as soon as it exists.

    Launching again with the same ``run`` returns the run. Raises InvalidInput when the plan can't work, and
    RemoteError or Unreachable when the target fails.
    """
    refuse_errors(plan)
    with scratch_folder() as folder:
        prepared = write_plan(plan, folder)
        return launch_folder(
            client, prepared.job, prepared.folder, run=run, secrets=secrets, on_bytes=on_bytes
        )


def launch_folder(
    client: AgentClient,
    job: Mapping[str, Any],
    folder: Path,
    *,
    run: str | None = None,
    secrets: Mapping[str, str] | None = None,
    on_bytes: OnBytes | None = None,
) -> RunStatus:
    """Upload a prepared folder and start its job; a lost reply is asked for once more."""
    files = upload_folder(client, folder, on_bytes)
    params = {
        "run": run or new_run_id(),
        "spec": dict(job),
        "spec_sha": spec_sha(job, files),
        "files": files,
        "secrets": dict(secrets or {}),
    }
    try:
        result = client.request("run.launch", params, timeout_s=_LAUNCH_TIMEOUT_S)
    except Unreachable:
        if client.closed:
            raise
        result = client.request("run.launch", params, timeout_s=_LAUNCH_TIMEOUT_S)
    status = parse_status(result)
    History().remember(client.target, status)
    return status


def spec_sha(job: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """Return the hash of all that makes a run what it is: its job and its files."""
    document = json.dumps([job, files], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(document.encode()).hexdigest()
