"""What a target has to train with."""

from __future__ import annotations

import queue

from presets.check import Machine
from remote_agent.protocol import Sample
from tui.errors import RemoteError
from tui.remote.agent_client import AgentClient
from tui.remote.streams import SampleSeen, StreamEvent

#: A machine whose driver hangs answers late; its agent still answers at once.
_SAMPLE_TIMEOUT_S = 20.0


def describe_machine(client: AgentClient) -> Machine:
    """Return GPUs, memory, cores and free disk of a target; raises RemoteError, Unreachable."""
    samples: queue.SimpleQueue[Sample] = queue.SimpleQueue()

    def take(event: StreamEvent) -> None:
        if isinstance(event, SampleSeen):
            samples.put(event.sample)

    subscription = client.subscribe("samples", take)
    try:
        sample = samples.get(timeout=_SAMPLE_TIMEOUT_S)
    except queue.Empty as error:
        raise RemoteError(
            f"{client.target} says nothing about its hardware",
            remedy=f"see what is wrong with: finetui doctor {client.target}",
        ) from error
    finally:
        subscription.close()
    return Machine(
        gpus=tuple(
            (gpu.name, gpu.vram_total_bytes) for gpu in sample.gpus if gpu.vram_total_bytes is not None
        ),
        ram_bytes=sample.ram_total_bytes,
        disk_free_bytes=_difference(sample.disk_total_bytes, sample.disk_used_bytes),
        cores=sample.cores,
    )


def _difference(total: int | None, used: int | None) -> int | None:
    return None if total is None or used is None else max(0, total - used)
