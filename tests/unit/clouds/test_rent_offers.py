"""What is offered, what fits, and in which order it is tried."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tui.clouds.base import Offer, marker_of, short_name
from tui.clouds.errors import NoCapacity
from tui.errors import InvalidInput
from tui.operations.rent_offers import GIB, Ranking, SizedOffer, list_offers, make_load, make_wish, rank
from tui.operations.rent_wish import Candidate, hours_of

SMALL = Offer("NVIDIA GeForce RTX 4090", "RTX 4090", 1, 24 * GIB, "secure", 0.70, "high", ("US-1", "EU-1"))
CHEAP = replace(SMALL, cloud="community", price_per_h=0.35, stock="low", data_centers=("CA-1",))
LARGE = Offer("NVIDIA H200", "H200", 1, 141 * GIB, "secure", 4.59, "medium", ("EU-1",))
GONE = Offer("NVIDIA H100 PCIe", "H100 PCIe", 1, 80 * GIB, "secure", 2.89, "none", ())


class Shop:
    """A cloud that has offers and nothing else."""

    name = "runpod"

    def offers(self, count: int) -> tuple[Offer, ...]:
        return (LARGE, GONE, SMALL, CHEAP)


def shown() -> list[SizedOffer]:
    return [SizedOffer(offer) for offer in (CHEAP, SMALL, GONE, LARGE)]


def ways(candidates: list[Candidate]) -> list[tuple[str, str, str]]:
    return [(candidate.name, candidate.cloud, candidate.data_center) for candidate in candidates]


class TestOffers:
    def test_a_preset_judges_every_card(self) -> None:
        load = make_load("phi-2-full", gpus=1)
        found = {item.offer.name: item for item in list_offers(Shop(), load, 1)}  # type: ignore[arg-type]
        assert found["RTX 4090"].fits is False
        assert found["H200"].fits is True
        need = found["H200"].need_bytes
        assert need is not None
        assert 24 * GIB < need < 141 * GIB

    def test_hours_and_dollars_are_for_the_data(self, tmp_path: Path) -> None:
        data = tmp_path / "d.jsonl"
        rows = [{"instruction": "word " * 200, "output": "word " * 200}] * 2000
        data.write_text("\n".join(json.dumps(row) for row in rows))
        found = {
            offers.offer.name: offers
            for offers in list_offers(Shop(), make_load("mistral-7b-instruct-lora", gpus=1, data=data), 1)  # type: ignore[arg-type]
        }
        fast, slow = found["H200"], found["RTX 4090"]
        assert fast.hours is not None
        assert slow.hours is not None
        assert 0.01 < fast.hours < slow.hours < 100
        assert fast.dollars == pytest.approx(fast.hours * 4.59)
        load = make_load("mistral-7b-instruct-lora", gpus=1)
        dearest = list_offers(Shop(), load, 1, "dollars")  # type: ignore[arg-type]
        costs = [item.offer.price_per_h / item.tokens_per_s for item in dearest if item.tokens_per_s]
        assert costs == sorted(costs)
        assert len(costs) == 4

    def test_a_tight_card_is_not_offered_unasked_and_not_refused_when_named(self) -> None:
        offers = [SizedOffer(SMALL, "tight", 23 * GIB), SizedOffer(LARGE, "fits", 23 * GIB)]
        assert ways(rank(offers, Ranking())) == [("H200", "secure", "")]
        assert ways(rank(offers, Ranking(gpus=("RTX 4090",)))) == [("RTX 4090", "secure", "")]

    def test_without_a_preset_nothing_is_judged(self) -> None:
        assert {item.fits for item in list_offers(Shop(), None, 1)} == {None}  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("sort", "first", "last"),
        [("price", CHEAP, LARGE), ("vram", LARGE, SMALL), ("stock", SMALL, GONE), ("name", GONE, SMALL)],
    )
    def test_sorting(self, sort: str, first: Offer, last: Offer) -> None:
        found = [item.offer for item in list_offers(Shop(), None, 1, sort)]  # type: ignore[arg-type]
        assert (found[0], found[-1]) == (first, last)


class TestRank:
    def test_unasked_the_cheapest_comes_first_and_what_is_out_of_stock_never(self) -> None:
        assert ways(rank(shown(), Ranking())) == [
            ("RTX 4090", "community", ""),
            ("RTX 4090", "secure", ""),
            ("H200", "secure", ""),
        ]

    def test_card_by_cloud_by_data_center_as_ranked(self) -> None:
        ranking = Ranking(
            gpus=("h200", "NVIDIA GeForce RTX 4090"),
            clouds=("secure", "community"),
            data_centers=("EU-1", "US-1", "CA-1"),
        )
        assert ways(rank(shown(), ranking)) == [
            ("H200", "secure", "EU-1"),
            ("RTX 4090", "secure", "EU-1"),
            ("RTX 4090", "secure", "US-1"),
            ("RTX 4090", "community", "CA-1"),
        ]

    def test_names_are_matched_whole(self) -> None:
        with pytest.raises(InvalidInput, match="H200"):
            rank(shown(), Ranking(gpus=("H20",)))

    def test_a_card_that_is_too_small_is_refused_unless_wanted_all_the_same(self) -> None:
        offers = [SizedOffer(SMALL, "no", 40 * GIB), SizedOffer(LARGE, "fits", 40 * GIB)]
        assert ways(rank(offers, Ranking())) == [("H200", "secure", "")]
        with pytest.raises(InvalidInput, match="does not fit on RTX 4090"):
            rank(offers, Ranking(gpus=("RTX 4090",)))
        assert len(rank(offers, Ranking(gpus=("RTX 4090",)), all_cards=True)) == 1

    def test_where_it_is_not_in_stock_the_places_are_told_where_it_is(self) -> None:
        with pytest.raises(NoCapacity, match="US-1, EU-1"):
            rank(shown(), Ranking(gpus=("RTX 4090",), data_centers=("AP-1",)))
        with pytest.raises(NoCapacity, match="everywhere"):
            rank(shown(), Ranking(gpus=("H100 PCIe",)))

    def test_spot_costs_the_spot_price_and_bids_it_per_gpu(self) -> None:
        spot = replace(SMALL, count=2, price_per_h=1.40, spot_price_per_h=0.60)
        (candidate,) = rank([SizedOffer(spot), SizedOffer(LARGE)], Ranking(spot=True))
        assert (candidate.price_per_h, candidate.spot_bid_per_h) == (0.60, 0.30)
        with pytest.raises(NoCapacity, match="graphql"):
            rank(shown(), Ranking(spot=True))


class TestWish:
    def test_disk_and_cuda_come_from_the_preset(self) -> None:
        small = make_wish("a", make_load("mistral-7b-instruct-lora"))
        large = make_wish("a", make_load("mistral-7b-instruct-full"))
        assert 20 < small.volume_gib < large.volume_gib
        assert small.min_cuda == "13.0", "the CUDA of the pinned torch"
        assert small.image.startswith("runpod/pytorch:1.")
        assert make_wish("a", None, volume_gib=7).volume_gib == 7

    @pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a-", "a" * 31, "a/b", 'a"b', "a\n"])
    def test_names_that_can_not_be_a_pods(self, name: str) -> None:
        with pytest.raises(InvalidInput):
            make_wish(name, None)

    def test_the_budget_shortens_the_life(self) -> None:
        wish = make_wish("a", None, hours=10, budget=3.5)
        assert hours_of(wish, rank(shown(), Ranking(gpus=("RTX 4090",), clouds=("secure",)))[0]) == 5
        assert hours_of(replace(wish, budget=None), rank(shown(), Ranking())[0]) == 10

    def test_every_wish_has_a_marker_of_its_own(self) -> None:
        markers = {make_wish("a", None).marker for _ in range(50)}
        assert len(markers) == 50
        assert all(marker_of(f"finetui-a-{marker}") == marker for marker in markers)


@pytest.mark.parametrize(
    ("name", "marker", "short"),
    [
        ("finetui-my-run-0123456789ab", "0123456789ab", "my-run"),
        ("finetui-x-0123456789ab-copy", "", "finetui-x-0123456789ab-copy"),
        ("finetui-x", "", "finetui-x"),
        ("", "", ""),
        ("my finetui-x-0123456789ab", "", "my finetui-x-0123456789ab"),
    ],
)
def test_ours_are_told_by_their_names(name: str, marker: str, short: str) -> None:
    assert (marker_of(name), short_name(name)) == (marker, short)
