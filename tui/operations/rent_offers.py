"""Which cards can be rented, joined with what a preset needs, in the order that the user ranks them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from presets import jobs
from presets.gpus import find
from presets.models import Architecture, architecture
from presets.sizing import Estimate, estimate
from presets.spec import RunSpec
from presets.throughput import throughput
from presets.verdict import Verdict, judge
from tui.clouds.base import STOCK_LEVELS, Cloud, Offer
from tui.clouds.errors import NoCapacity
from tui.errors import InvalidInput
from tui.operations.estimate import estimate_preset
from tui.operations.plan import resolve_spec
from tui.operations.rent_wish import Candidate, Wish

GIB = 1024**3
CLOUDS = ("secure", "community")
#: One of RunPod's own images: sshd, a start script that prints the host keys, Python, a compiler. Its torch
#: is not used, the trainer's environment brings its own. The provider's pytorch 2.1 images, which older
#: guides name, are too old: LLaMA-Factory no longer runs on their Python and torch.
DEFAULT_IMAGE = "runpod/pytorch:1.0.7-cu1281-torch280-ubuntu2404"
CONTAINER_DISK_GIB = 30
#: Of a volume whose needs can't be estimated.
DEFAULT_VOLUME_GIB = 100
_VOLUME_SLACK = 1.15
DEFAULT_HOURS = 24.0


@dataclass(frozen=True)
class Load:
    """What is to be trained: its needs on ``count`` GPUs, None where its model's shape is not known.

    ``tokens`` are those of the whole run, None without data.
    """

    spec: RunSpec
    count: int
    shape: Architecture | None = None
    need: Estimate | None = None
    tokens: float | None = None


@dataclass(frozen=True)
class SizedOffer:
    """An offer with what a load makes of it; None where it is not known.

    ``hours`` and ``dollars`` are for the whole run, training alone: building the environment, downloads and
    evaluation come on top.
    """

    offer: Offer
    verdict: Verdict | None = None
    need_bytes: int | None = None
    tokens_per_s: float | None = None
    hours: float | None = None

    @property
    def fits(self) -> bool | None:
        """Whether it fits even at the high end of the estimate."""
        return None if self.verdict is None else self.verdict == "fits"

    @property
    def dollars(self) -> float | None:
        """What the run costs at this offer's price, in US dollars."""
        return None if self.hours is None else self.hours * self.offer.price_per_h


@dataclass(frozen=True)
class Ranking:
    """What the user asked for, best first; empty leaves it to price and to the provider."""

    gpus: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()
    data_centers: tuple[str, ...] = ()
    spot: bool = False


def make_load(
    preset: str,
    sets: Sequence[str] = (),
    gpus: int | None = None,
    data: Path | None = None,
    mapping: str = "",
) -> Load:
    """Return what training a preset asks of a machine; raises InvalidInput."""
    spec = resolve_spec(preset, [*sets, *([f"gpus={gpus}"] if gpus is not None else [])])
    shape = architecture(spec)
    need = estimate(spec, shape, spec.gpus) if shape else None
    tokens = estimate_preset(preset, sets, gpus=gpus, data=data, mapping=mapping).tokens if data else None
    return Load(spec, spec.gpus, shape, need, tokens)


def list_offers(cloud: Cloud, load: Load | None, count: int, sort: str = "price") -> list[SizedOffer]:
    """Return every offer of ``count`` GPUs, judged by the load where one is given."""
    sized = [_sized(offer, load) for offer in cloud.offers(count)]
    return sorted(sized, key=lambda item: (_sort_key(item, sort), item.offer.price_per_h))


def _sized(offer: Offer, load: Load | None) -> SizedOffer:
    if load is None or load.shape is None or load.need is None:
        return SizedOffer(offer)
    card = find(offer.name) or find(offer.gpu)
    # Providers round what they sell; what CUDA sees of a known card is known better.
    vram_bytes = min(offer.vram_bytes, card.vram_bytes) if card else offer.vram_bytes
    verdict = judge(load.need, vram_bytes)
    if card and load.spec.precision == "bf16" and not card.has_bf16:
        verdict = "no"
    if card is None:
        return SizedOffer(offer, verdict, load.need.per_gpu_bytes)
    speed = throughput(load.spec, load.shape, card, load.count)
    hours = None if load.tokens is None else speed.seconds(load.tokens) / 3600
    return SizedOffer(offer, verdict, load.need.per_gpu_bytes, speed.tokens_per_s, hours)


def rank(offers: Sequence[SizedOffer], ranking: Ranking, *, all_cards: bool = False) -> list[Candidate]:
    """Return the candidates, card by cloud by data center as ranked; cards out of stock are left out.

    Raises InvalidInput for a card that is not offered and, unless ``all_cards``, for one on which the preset
    does not fit; NoCapacity when nothing is in stock.
    """
    wanted = _wanted_cards(offers, ranking, all_cards)
    candidates: list[Candidate] = []
    for gpu in wanted:
        for cloud in ranking.clouds or CLOUDS:
            for item in offers:
                if (item.offer.gpu, item.offer.cloud) == (gpu, cloud):
                    candidates += _places(item.offer, ranking)
    if not candidates:
        raise _out_of_stock([item.offer for item in offers if item.offer.gpu in wanted], ranking)
    if not ranking.gpus:
        candidates.sort(key=lambda candidate: candidate.price_per_h)
    return candidates


def make_wish(
    name: str,
    load: Load | None,
    *,
    image: str = DEFAULT_IMAGE,
    volume_gib: int | None = None,
    hours: float = DEFAULT_HOURS,
    budget: float | None = None,
    network_volume: str = "",
) -> Wish:
    """Return the pod that suits a preset: disk from its sizing, CUDA from its environment's pins."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?", name):
        raise InvalidInput(
            f"{name!r} can't be a pod's name", remedy="use up to 30 lower-case letters, digits and dashes"
        )
    need = load.need if load else None
    suited = math.ceil(need.disk_bytes * _VOLUME_SLACK / GIB) if need else DEFAULT_VOLUME_GIB
    return Wish(
        name=name,
        image=image,
        container_disk_gib=CONTAINER_DISK_GIB,
        volume_gib=volume_gib or suited,
        hours=hours,
        budget=budget,
        min_cuda=_cuda_of(load.spec) if load else "",
        network_volume=network_volume,
    )


def _cuda_of(spec: RunSpec) -> str:
    """The CUDA that the environment's torch was built for: the host's driver must offer as much."""
    pins = str(jobs.train_job(spec)["environment"]["pins"])
    found = re.search(r"^cuda-toolkit==(\d+\.\d+)", pins, re.MULTILINE)
    return found[1] if found else ""


def _wanted_cards(offers: Sequence[SizedOffer], ranking: Ranking, all_cards: bool) -> list[str]:
    if not ranking.gpus:
        return list(dict.fromkeys(item.offer.gpu for item in offers if all_cards or item.fits is not False))
    wanted = []
    for text in ranking.gpus:
        named = [item for item in offers if text.lower() in (item.offer.gpu.lower(), item.offer.name.lower())]
        if not named:
            raise _not_offered(text, sorted({item.offer.name for item in offers}))
        if named[0].verdict == "no" and not all_cards:
            raise _too_small(named[0])
        wanted.append(named[0].offer.gpu)
    return wanted


def _places(offer: Offer, ranking: Ranking) -> list[Candidate]:
    if offer.stock == "none" or (ranking.spot and offer.spot_price_per_h is None):
        return []
    # Where the provider tells what is where, only those; else the create will tell.
    known = offer.data_centers
    places = [name for name in ranking.data_centers if not known or name in known]
    price = offer.spot_price_per_h if ranking.spot and offer.spot_price_per_h else offer.price_per_h
    return [
        Candidate(
            gpu=offer.gpu,
            name=offer.name,
            count=offer.count,
            cloud=offer.cloud,
            data_center=place,
            price_per_h=price,
            spot_bid_per_h=price / offer.count if ranking.spot else None,
        )
        for place in (places if ranking.data_centers else [""])
    ]


def _sort_key(item: SizedOffer, sort: str) -> float | str:
    offer = item.offer
    if sort == "vram":
        return -offer.vram_bytes
    if sort == "stock":
        return STOCK_LEVELS.index(offer.stock)
    if sort == "dollars":
        return offer.price_per_h / item.tokens_per_s if item.tokens_per_s else math.inf
    return offer.name.lower() if sort == "name" else offer.price_per_h


def _not_offered(text: str, names: list[str]) -> InvalidInput:
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.4)
    return InvalidInput(
        f"no card {text!r} is offered with that many GPUs",
        cause=f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(names)}",
        remedy="write the name or the id as finetui pods offers --all-cards shows it",
    )


def _too_small(item: SizedOffer) -> InvalidInput:
    need = (item.need_bytes or 0) / 1e9
    return InvalidInput(
        f"the preset does not fit on {item.offer.name}; nothing was rented",
        cause=f"it needs about {need:.3g} GB on each GPU, the card has {item.offer.vram_bytes / 1e9:.3g} GB",
        remedy="take a card of finetui pods offers --preset, more GPUs, or rent it anyway with --all-cards",
    )


def _out_of_stock(offers: Sequence[Offer], ranking: Ranking) -> NoCapacity:
    if ranking.spot and not any(offer.spot_price_per_h for offer in offers):
        return NoCapacity(
            "no spot price is known for these cards; nothing was rented",
            remedy='set runpod_api = "graphql" in config.toml, or leave --spot out',
        )
    stocked = [
        f"{offer.name} ({offer.cloud}) in {', '.join(offer.data_centers) or 'some data center'}"
        for offer in offers
        if offer.stock != "none"
    ]
    return NoCapacity(
        "none of these cards is in stock where it was asked for; nothing was rented",
        cause=f"in stock: {'; '.join(stocked)}" if stocked else "they are out of stock everywhere",
        remedy="name other cards, clouds or data centers: finetui pods offers",
    )
