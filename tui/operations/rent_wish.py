"""What the user wants to rent, and the ways in which it may be had."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

#: No pod is rented for less: building the environment takes a good part of an hour.
MIN_HOURS = 1.0


@dataclass(frozen=True)
class Candidate:
    """One way to have the wish come true; ``price_per_h`` in US dollars, ``data_center`` may be empty."""

    gpu: str
    name: str
    count: int
    cloud: str
    data_center: str
    price_per_h: float
    spot_bid_per_h: float | None = None

    def __str__(self) -> str:
        where = f" in {self.data_center}" if self.data_center else ""
        return f"{self.count} x {self.name} ({self.cloud}{where}, ${self.price_per_h:.2f}/h)"


@dataclass(frozen=True)
class Wish:
    """What the pod should be like; disks in GiB, ``hours`` to its deadline, ``budget`` in US dollars."""

    name: str
    image: str
    container_disk_gib: int
    volume_gib: int
    hours: float
    budget: float | None = None
    min_cuda: str = ""
    network_volume: str = ""
    marker: str = field(default_factory=lambda: secrets.token_hex(6))


def hours_of(wish: Wish, candidate: Candidate) -> float:
    """Return how long the pod may live: the wish's hours, or what the budget pays for if that is less."""
    if wish.budget is None or candidate.price_per_h <= 0:
        return wish.hours
    return min(wish.hours, wish.budget / candidate.price_per_h)
