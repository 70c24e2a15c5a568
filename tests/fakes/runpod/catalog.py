"""Cards and data centers that the fake rents out; prices per GPU and hour."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Card:
    """One GPU type; ``free`` is how many GPUs each (cloud, data center) has left."""

    id: str
    name: str
    memory_gb: int
    secure: float | None
    community: float | None
    secure_spot: float | None = None
    max_count: int = 8
    free: dict[tuple[str, str], int] = field(default_factory=dict)

    def price(self, cloud: str) -> float | None:
        return self.secure if cloud == "SECURE" else self.community

    def stock(self, cloud: str, data_center: str | None, count: int) -> str:
        free = [
            n
            for (its_cloud, its_dc), n in self.free.items()
            if its_cloud == cloud and data_center in (None, its_dc)
        ]
        most = max(free, default=0)
        if most < count:
            return "NONE"
        return "LOW" if most < 4 else "MEDIUM" if most < 16 else "HIGH"

    def data_centers(self, cloud: str) -> list[str]:
        return sorted(dc for its_cloud, dc in self.free if its_cloud == cloud)


def default_catalog() -> list[Card]:
    """A few of the real ids with round prices, so that tests can do sums in their heads."""
    return [
        Card("NVIDIA GeForce RTX 4090", "RTX 4090", 24, 0.70, 0.35, 0.70,
             free={("SECURE", "US-KS-2"): 20, ("SECURE", "EU-RO-1"): 3, ("COMMUNITY", "CA-MTL-1"): 8}),
        Card("NVIDIA RTX A6000", "RTX A6000", 48, 0.50, None, 0.25,
             free={("SECURE", "EU-RO-1"): 16}),
        Card("NVIDIA A100 80GB PCIe", "A100 PCIe", 80, 1.60, 1.20, 0.80,
             free={("SECURE", "US-KS-2"): 8, ("COMMUNITY", "CA-MTL-1"): 2}),
        Card("NVIDIA H100 80GB HBM3", "H100 SXM", 80, 4.00, 2.70, None,
             free={("SECURE", "US-KS-2"): 0}),
        Card("AMD Instinct MI300X OAM", "MI300X", 192, 2.40, None, None,
             free={("SECURE", "EU-RO-1"): 8}),
        Card("unknown", "unknown", 0, 0.0, 0.0),
    ]  # fmt: skip
