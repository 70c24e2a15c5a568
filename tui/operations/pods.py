"""The pods of the account: which are ours, which nobody uses, and how to end them."""

from __future__ import annotations

from dataclasses import dataclass

from remote_agent.protocol import ENDED
from tui.clouds.base import Cloud, Pod
from tui.errors import InvalidInput
from tui.operations.rent_keys import forget_key
from tui.operations.rent_place import end
from tui.operations.rent_ssh import forget_host_key
from tui.state.history import History


@dataclass(frozen=True)
class PodUse:
    """A pod with the live runs that this laptop knows on it; ``orphan``: ours, billed, and without one."""

    pod: Pod
    runs: tuple[str, ...]

    @property
    def orphan(self) -> bool:
        """Say whether the pod is ours, exists, and serves no run that is known."""
        return bool(self.pod.marker) and self.pod.state != "gone" and not self.runs


def pods_in_use(cloud: Cloud, history: History) -> list[PodUse]:
    """Return every pod of the account with its live runs, newest first."""
    live: dict[str, list[str]] = {}
    for entry in history.entries():
        if entry.status.state not in ENDED:
            live.setdefault(entry.target, []).append(entry.run)
    pods = sorted(cloud.list(), key=lambda pod: pod.created or 0.0, reverse=True)
    return [PodUse(pod, tuple(live.get(f"{cloud.name}:{pod.id}", ()))) for pod in pods]


def orphans(cloud: Cloud, history: History) -> list[Pod]:
    """Return pods of ours without a live run: they cost money and nobody may know."""
    return [use.pod for use in pods_in_use(cloud, history) if use.orphan]


def find_pod(cloud: Cloud, text: str) -> Pod:
    """Return the pod with this id, ``runpod:ID``, or name of ours; raises InvalidInput."""
    wanted = text.removeprefix(f"{cloud.name}:")
    pods = [pod for pod in cloud.list() if pod.state != "gone"]
    found = [pod for pod in pods if pod.id == wanted] or [
        pod for pod in pods if pod.marker and pod.name == wanted
    ]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{pod.id} ({pod.name})" for pod in pods) or "none"
    raise InvalidInput(
        f"{len(found)} pods are named {wanted!r}" if found else f"there is no pod {wanted!r}",
        cause=f"pods of the account: {known}",
        remedy="write the id of one; a pod that is not listed is gone and not billed",
    )


def refuse_used_name(cloud: Cloud, name: str) -> None:
    """Raise InvalidInput when a pod of ours has this name already."""
    for pod in cloud.list():
        if pod.marker and pod.name == name and pod.state != "gone":
            raise InvalidInput(
                f"there is a pod named {name!r} already; nothing was rented",
                cause=f"{pod.id}, {pod.state}",
                remedy="use another --name, launch on that pod (--on runpod:" + pod.id + "), or end it",
            )


def stop_pod(cloud: Cloud, pod: Pod) -> None:
    """Stop a pod: its GPU is given to others, what is outside its volume is lost, its volume is billed."""
    cloud.stop(pod.id)
    forget_host_key(cloud, pod.id)


def terminate_pod(cloud: Cloud, pod: Pod, history: History, *, force: bool = False) -> None:
    """End a pod with its disks and forget its keys; raises InvalidInput while a run lives on it."""
    runs = next((use.runs for use in pods_in_use(cloud, history) if use.pod.id == pod.id), ())
    if runs and not force:
        raise InvalidInput(
            f"a run is live on pod {pod.id}; nothing was changed",
            cause=f"{', '.join(runs)}, as far as this laptop knows",
            remedy="stop it (finetui stop RUN) and copy its results, or say --force to lose them",
        )
    end(cloud, pod.id)
    forget_host_key(cloud, pod.id)
    forget_key(pod.marker)
