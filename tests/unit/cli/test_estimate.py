"""Whether a preset fits a card: what the two documents' users ask first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from presets.errors import InvalidInput
from presets.gpus import card
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


def test_what_would_make_it_fit_is_said_and_does() -> None:
    fit = estimate_preset("mistral-7b-instruct-full", ["offload_optimizer=false"], "RTX 6000 Ada", 5)
    assert "--set zero_stage=3" in fit.ways
    again = estimate_preset(
        "mistral-7b-instruct-full", ["offload_optimizer=false", "zero_stage=3"], "RTX 6000 Ada", 5
    )
    assert again.fits


@pytest.mark.parametrize(
    ("preset", "sets", "gpu", "gpus"),
    [
        ("mistral-7b-instruct-full", ["zero_stage=3", "offload_optimizer=false"], "H100", 3),
        ("mistral-7b-instruct-full", [], "H100", 3),
        ("mistral-7b-instruct-qlora4", [], "RTX 4090", 1),
    ],
)
def test_the_machines_that_people_ask_about(preset: str, sets: list[str], gpu: str, gpus: int) -> None:
    fit = estimate_preset(preset, sets, gpu, gpus)
    assert fit.fits
    assert fit.speed is not None
    assert fit.speed.tokens_per_s > 100


def test_with_data_the_time_of_the_whole_run_is_reckoned(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text((json.dumps({"prompt": "a" * 4000, "completion": "b" * 4000}) + "\n") * 100)
    once = estimate_preset("qwen3-8b-lora", ["epochs=1"], "H100", data=rows)
    twice = estimate_preset("qwen3-8b-lora", ["epochs=2"], "H100", data=rows)
    assert once.tokens == pytest.approx(200_000, rel=0.01)
    assert once.seconds is not None
    assert twice.seconds == pytest.approx(2 * once.seconds)


@pytest.mark.parametrize("name", ["RTX 4090", "NVIDIA GeForce RTX 4090", "rtx-4090"])
def test_cards_go_by_the_names_of_drivers_and_clouds(name: str) -> None:
    assert card(name).vram_bytes == pytest.approx(24 * 1024**3, rel=0.01)


@pytest.mark.parametrize(
    ("name", "vram_gib"),
    [
        ("NVIDIA H100 80GB HBM3", 80),
        ("NVIDIA A100-SXM4-80GB", 80),
        ("NVIDIA A100-SXM4-40GB", 40),
        ("NVIDIA RTX 6000 Ada Generation", 48),
        ("Tesla V100-SXM2-32GB", 32),
        ("NVIDIA RTX A6000", 48),
    ],
)
def test_the_names_that_nvml_gives_are_known(name: str, vram_gib: int) -> None:
    assert card(name).vram_bytes == pytest.approx(vram_gib * 1024**3, rel=0.01)


def test_an_unknown_card_offers_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="RTX 4090"):
        card("RTX 4091")


def test_every_way_that_is_named_is_accepted_and_fits() -> None:
    without = ["offload_optimizer=false", "zero_stage=2"]
    fit = estimate_preset("mistral-7b-instruct-full", without, "RTX 4090", 2)
    assert fit.verdict == "no"
    assert any("method=qlora" in way for way in fit.ways)
    for way in fit.ways:
        sets = [*without, *(item for item in way.split() if item != "--set")]
        assert estimate_preset("mistral-7b-instruct-full", sets, "RTX 4090", 2).fits, way
