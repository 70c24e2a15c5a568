"""Whether a preset fits a card: what the two documents' users ask first."""

from __future__ import annotations

import pytest

from presets.cards import card_vram_bytes
from presets.errors import InvalidInput
from tui.operations.estimate import estimate_preset


def test_full_fine_tuning_of_7b_on_five_48_gb_cards_fits_with_offload_and_not_without() -> None:
    with_offload = estimate_preset("mistral-7b-instruct-full", gpu="RTX 6000 Ada", gpus=5)
    without = estimate_preset(
        "mistral-7b-instruct-full", ["offload_optimizer=false"], gpu="RTX 6000 Ada", gpus=5
    )
    assert (with_offload.fits, without.fits) == (True, False)
    assert with_offload.need.host_bytes > without.need.host_bytes


def test_without_a_card_no_verdict_is_given() -> None:
    assert estimate_preset("demo").fits is None


@pytest.mark.parametrize("name", ["RTX 4090", "NVIDIA GeForce RTX 4090", "rtx-4090"])
def test_cards_go_by_the_names_of_drivers_and_clouds(name: str) -> None:
    assert card_vram_bytes(name) == 24 * 1024**3


def test_an_unknown_card_offers_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="RTX 4090"):
        card_vram_bytes("RTX 4091")
