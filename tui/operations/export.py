"""Exports: a run of kind ``export`` that writes a checkpoint in the form that others use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from presets.export import render_export
from presets.model_card import Outcome
from remote_agent.protocol import RunStatus
from tui.errors import InvalidInput, RemoteError
from tui.operations.checkpoints import choose_checkpoint
from tui.operations.files import read_file
from tui.operations.hub import hub_secrets
from tui.operations.launch import launch_folder
from tui.operations.plan import scratch_folder
from tui.operations.stop import failure, wait_for_end
from tui.remote.agent_client import AgentClient

_MAX_RESULT_BYTES = 64 * 1024

OnStatus = Callable[[RunStatus], None]


@dataclass(frozen=True)
class Exported:
    """What an export run made; ``path`` is on the target.

    ``largest_difference`` is how far a merged model's logits are from the adapter's at most, as a share.
    """

    run: str
    checkpoint: str
    path: str
    bytes: int
    merged: bool
    largest_difference: float | None
    pushed: str | None


def export(
    client: AgentClient,
    run: str,
    step: int | None = None,
    *,
    merge: bool = False,
    push: str | None = None,
    on_status: OnStatus | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Exported:
    """Export the checkpoint at ``step``, else the newest, and wait for the end.

    ``push`` names a repository of the Hub. Raises InvalidInput when there is nothing to export or no token
    to push with, RemoteError when the export fails, Unreachable.
    """
    tokens = hub_secrets() if secrets is None else dict(secrets)
    if push is not None and not tokens:
        raise InvalidInput(
            "there is no token of the Hugging Face Hub to push with",
            remedy="set HF_TOKEN to one that may write, or log in with: hf auth login",
        )
    training = _training(client, run)
    checkpoint = choose_checkpoint(client, run, step)
    outcome = Outcome(checkpoint.step, checkpoint.loss, checkpoint.eval_loss)
    with scratch_folder() as folder:
        prepared = render_export(training, run, outcome, folder, merge=merge, push=push)
        launched = launch_folder(client, prepared.job, prepared.folder, secrets=tokens)
    end = wait_for_end(client, launched.run, on_status)
    if end.state != "finished":
        raise failure(end)
    return _result(client, launched.run, f"{run}@{checkpoint.step}")


def _training(client: AgentClient, run: str) -> dict[str, Any]:
    spec = client.request("run.spec", {"run": run})
    if not isinstance(spec, dict) or not isinstance(spec.get("config"), dict):
        raise RemoteError(f"run {run} has no readable spec")
    if spec.get("kind") != "train":
        raise InvalidInput(f"{run} is not a training run", remedy="name the run that trained the model")
    return spec


def _result(client: AgentClient, run: str, checkpoint: str) -> Exported:
    try:
        document = json.loads(read_file(client, f"runs/{run}/export.json", _MAX_RESULT_BYTES))
        return Exported(
            run=run,
            checkpoint=checkpoint,
            path=str(document["path"]),
            bytes=int(document["bytes"]),
            merged=document["merged"] is True,
            largest_difference=document["largest_difference"],
            pushed=document["pushed"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RemoteError(f"the result of the export {run} can't be read", cause=str(error)) from error
