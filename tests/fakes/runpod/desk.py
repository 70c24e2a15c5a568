"""Where renting is tested from: the fake's clock, and an ear for what is told on the way."""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes.runpod.clock import ManualClock
from tui.clouds.runpod_v2 import RunPodV2
from tui.operations.rent import Rented, rent
from tui.operations.rent_place import Time
from tui.operations.rent_stages import Progress
from tui.operations.rent_wish import Candidate, Wish
from tui.remote.ssh_ask import Ask, nobody_to_ask

RTX_4090 = "NVIDIA GeForce RTX 4090"
A6000 = "NVIDIA RTX A6000"
H100 = "NVIDIA H100 80GB HBM3"


def candidate(gpu: str = RTX_4090, cloud: str = "secure", price: float = 0.70, place: str = "") -> Candidate:
    return Candidate(gpu, gpu.rsplit(maxsplit=1)[-1], 1, cloud, place, price)


class Desk:
    """Rents with the fake's clock and keeps what was told on the way; SSH and agent always answer."""

    def __init__(self, cloud: RunPodV2, clock: ManualClock) -> None:
        self.cloud = cloud
        self.clock = clock
        self.told: list[Progress] = []
        self.wish = Wish("demo", "runpod/pytorch:1.0.7", 30, 60, hours=24.0)
        self.reach: Callable[[str, Ask], None] = lambda target, ask: None

    def rent(self, *candidates: Candidate, wish: Wish | None = None, ask: Ask | None = None) -> Rented:
        return rent(
            self.cloud,
            wish or self.wish,
            candidates or [candidate()],
            ask or nobody_to_ask(),
            self.told.append,
            reach=self.reach,
            clock=Time(self.clock.now, self.clock.advance),
            wall_clock=self.clock.now,
        )

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(progress.stage for progress in self.told if not progress.note))

    @property
    def notes(self) -> str:
        return "\n".join(progress.note for progress in self.told if progress.note)
