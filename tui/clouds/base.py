"""What finetui needs of a cloud that rents GPU pods, and nothing more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

#: States of a pod as finetui speaks of them, whatever the provider calls them. ``renting`` lasts until the
#: image is there, ``starting`` until the container runs.
POD_STATES = ("renting", "starting", "running", "stopped", "gone", "failed")
#: Stock as the providers tell it, best first; "" where nothing is told.
STOCK_LEVELS = ("high", "medium", "low", "", "none")

_OUR_NAME = re.compile(r"finetui-(?P<name>[a-z0-9-]+)-(?P<marker>[0-9a-f]{12})")


@dataclass(frozen=True)
class Offer:
    """A card that can be rented now; prices are for all ``count`` GPUs together, in US dollars per hour."""

    gpu: str
    name: str
    count: int
    vram_bytes: int
    #: ``secure`` or ``community``.
    cloud: str
    price_per_h: float
    #: One of STOCK_LEVELS.
    stock: str = ""
    #: Where it is in stock, best stocked first; empty where the provider does not say.
    data_centers: tuple[str, ...] = ()
    spot_price_per_h: float | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where sshd of a pod can be reached right now; valid for one connect only, ports change."""

    host: str
    port: int
    user: str = "root"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}"


@dataclass(frozen=True)
class Pod:
    """A rented machine as the provider reports it; ``price_per_h`` is in US dollars, 0 while it is stopped.

    ``marker`` is empty for a pod that finetui did not make.
    """

    id: str
    name: str
    state: str
    gpu: str = ""
    count: int = 0
    price_per_h: float = 0.0
    #: Seconds since the epoch.
    created: float | None = None
    endpoint: Endpoint | None = None
    marker: str = ""
    data_center: str = ""
    volume: str = ""


@dataclass(frozen=True)
class PodRequest:
    """What to rent; disks in GiB.

    ``marker`` is unique to this wish: after an ambiguous create the pod is looked up by it. The pod ends at
    ``terminate_after`` (epoch seconds), by the provider where it can, else by the pod's own first process.
    """

    name: str
    marker: str
    gpu: str
    count: int
    #: ``secure`` or ``community``.
    cloud: str
    image: str
    container_disk_gib: int
    volume_gib: int
    #: One line, ``ssh-ed25519 ...``: the only key that may log in.
    public_key: str
    terminate_after: float
    #: Empty leaves the choice to the provider.
    data_centers: tuple[str, ...] = ()
    network_volume: str = ""
    #: Lowest CUDA version that the host's driver must offer, as ``major.minor``.
    min_cuda: str = ""
    #: Rent an interruptible pod at this bid, in US dollars per GPU and hour.
    spot_bid_per_h: float | None = None
    env: dict[str, str] = field(default_factory=dict)

    @property
    def pod_name(self) -> str:
        """The name that the provider shows, with the marker in it."""
        return f"finetui-{self.name}-{self.marker}"


@dataclass(frozen=True)
class Balance:
    """Credit left and what is being spent, in US dollars and US dollars per hour."""

    dollars: float
    spend_per_h: float


class Cloud(Protocol):
    """One account at one provider; every call is one or two round trips and raises only FinetuiError.

    ``name`` is the prefix of its targets.
    """

    name: str

    def offers(self, count: int) -> tuple[Offer, ...]:
        """Return what can be rented with ``count`` GPUs, cards out of stock included; one round trip."""

    def create(self, request: PodRequest) -> Pod:
        """Rent a pod, asking once; raises NoCapacity, Forbidden, NoCredit, Ambiguous or the like."""

    def get(self, pod: str) -> Pod | None:
        """Return a pod by its id, or None when it is gone."""

    def list(self) -> tuple[Pod, ...]:
        """Return every pod of the account, ours or not."""

    def stop(self, pod: str) -> None:
        """Stop billing for the GPU; the volume stays and is billed, the rest of the disk is wiped."""

    def resume(self, pod: str, terminate_after: float | None = None) -> Pod:
        """Start a stopped pod, with a new deadline where one is given and the provider lets it be changed.

        Raises NoCapacity when its machine has no free GPU.
        """

    def terminate(self, pod: str) -> None:
        """End a pod and delete its disks; a pod already gone is not an error."""

    def balance(self) -> Balance | None:
        """Return the account's credit, or None where the provider does not tell."""

    def logs(self, pod: str, quiet_s: float) -> Iterator[str]:
        """Yield the lines of a pod's container, from its start, until none comes for ``quiet_s`` seconds."""


def marker_of(pod_name: str) -> str:
    """Return the marker in a pod's name, or "" when the pod is not ours."""
    found = _OUR_NAME.fullmatch(pod_name)
    return found["marker"] if found else ""


def short_name(pod_name: str) -> str:
    """Return the name that the user gave, or the whole name when the pod is not ours."""
    found = _OUR_NAME.fullmatch(pod_name)
    return found["name"] if found else pod_name
