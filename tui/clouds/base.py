"""What finetui needs of a cloud that rents GPU pods, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

#: States of a pod as finetui speaks of them, whatever the provider calls them.
POD_STATES = ("renting", "starting", "running", "stopped", "gone", "failed")


@dataclass(frozen=True)
class Offer:
    """A card that can be rented now; prices are for all ``count`` GPUs together, in US dollars per hour."""

    gpu: str
    name: str
    count: int
    vram_bytes: int
    cloud: str
    price_per_h: float
    stock: str = ""
    data_centers: tuple[str, ...] = ()
    spot_price_per_h: float | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where sshd of a pod can be reached right now; valid for one connect only, ports change."""

    host: str
    port: int
    user: str = "root"


@dataclass(frozen=True)
class Pod:
    """A rented machine as the provider reports it; ``price_per_h`` is 0 while it is stopped."""

    id: str
    name: str
    state: str
    gpu: str = ""
    count: int = 0
    price_per_h: float = 0.0
    created: float | None = None
    endpoint: Endpoint | None = None
    marker: str = ""
    volume: str = ""


@dataclass(frozen=True)
class PodRequest:
    """What to rent; the provider's side ends the pod at ``terminate_after`` (epoch seconds) where it can.

    ``marker`` is unique to this request: after an ambiguous create the pod is looked up by it.
    """

    name: str
    marker: str
    gpu: str
    count: int
    cloud: str
    image: str
    container_disk_gib: int
    volume_gib: int
    public_key: str
    terminate_after: float | None = None
    data_centers: tuple[str, ...] = ()
    network_volume: str = ""
    cuda: str = ""
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Balance:
    """Credit left and what is being spent, in US dollars and US dollars per hour."""

    dollars: float
    spend_per_h: float


class Cloud(Protocol):
    """One account at one provider; every call is one or two round trips and raises only FinetuiError."""

    name: str

    def offers(self, count: int) -> tuple[Offer, ...]:
        """Return what can be rented now with ``count`` GPUs."""

    def create(self, request: PodRequest) -> Pod:
        """Rent a pod; raises NoCapacity, NoCredit, Ambiguous or another FinetuiError."""

    def find(self, marker: str) -> Pod | None:
        """Return the pod that was made with this marker, if there is one."""

    def get(self, pod: str) -> Pod | None:
        """Return a pod by its id, or None when it is gone."""

    def list(self) -> tuple[Pod, ...]:
        """Return every pod of the account."""

    def stop(self, pod: str) -> None:
        """Stop billing for the GPU; the volume stays and is billed."""

    def resume(self, pod: str) -> Pod:
        """Start a stopped pod; raises NoCapacity when its machine has no free GPU."""

    def terminate(self, pod: str) -> None:
        """End a pod and delete its disks; a pod already gone is not an error."""

    def balance(self) -> Balance | None:
        """Return the account's credit, or None where the provider does not tell."""

    def logs(self, pod: str) -> Iterator[str]:
        """Yield the lines of a pod's container log from its start."""
