"""The checkpoints of a run."""

from __future__ import annotations

from remote_agent.protocol import Checkpoint, ProtocolError, from_wire
from tui.errors import InvalidInput, RemoteError
from tui.remote.agent_client import AgentClient

#: Removing hundreds of GB from a network volume takes minutes.
_REMOVING_TIMEOUT_S = 600.0


def list_checkpoints(client: AgentClient, run: str) -> list[Checkpoint]:
    """Return a run's checkpoints by step; raises RemoteError, Unreachable."""
    result = client.request("ckpt.list", {"run": run})
    try:
        if not isinstance(result, list):
            raise ProtocolError("not a list")
        found = [from_wire(Checkpoint, item) for item in result]
    except ProtocolError as error:
        raise RemoteError("the agent's list of checkpoints is malformed", cause=str(error)) from error
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def drop_optimizers(client: AgentClient, run: str, steps: list[int]) -> int:
    """Remove what only a resume needs from checkpoints of an ended run; return the bytes that were freed.

    The newest one that can be resumed is refused. Raises RemoteError, Unreachable.
    """
    return _remove(client, "ckpt.drop_optimizers", run, steps)


def delete_checkpoints(client: AgentClient, run: str, steps: list[int]) -> int:
    """Delete checkpoints of an ended run; return the bytes freed. Raises RemoteError, Unreachable."""
    return _remove(client, "ckpt.delete", run, steps)


def _remove(client: AgentClient, method: str, run: str, steps: list[int]) -> int:
    result = client.request(method, {"run": run, "steps": steps}, timeout_s=_REMOVING_TIMEOUT_S)
    freed = result.get("freed_bytes") if isinstance(result, dict) else None
    if type(freed) is not int:
        raise RemoteError("the agent's answer is malformed", cause="no freed_bytes")
    return freed


def choose_checkpoint(client: AgentClient, run: str, step: int | None) -> Checkpoint:
    """Return the complete checkpoint at ``step``, or the newest; raises InvalidInput saying what there is."""
    found = [checkpoint for checkpoint in list_checkpoints(client, run) if checkpoint.complete]
    chosen = found[-1:] if step is None else [item for item in found if item.step == step]
    if chosen:
        return chosen[0]
    there = ", ".join(str(checkpoint.step) for checkpoint in found)
    raise InvalidInput(
        f"run {run} has no complete checkpoint" + (f" at step {step}" if step is not None else " yet"),
        cause=f"complete ones are at: {there}" if there else "",
        remedy="wait for the first save, or name one that is listed by: finetui checkpoints " + run,
    )
