"""Speed as reckoned against published runs on Hugging Face's stack, and what makes a run slower."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from presets.gpus import card
from presets.models import Architecture, known_models
from presets.spec import RunSpec, resolve
from presets.throughput import UNCERTAINTY, throughput

LLAMA = known_models()["meta-llama/Llama-3.1-8B-Instruct"]
#: Qwen-7B and 14B, the models of 2023.
QWEN = {
    "7B": msgspec.structs.replace(LLAMA, kv_heads=32, ffn=11008, vocab=151936),
    "14B": msgspec.structs.replace(
        LLAMA, layers=40, hidden=5120, heads=40, kv_heads=40, ffn=13696, vocab=152064
    ),
}


def run(**keys: Any) -> RunSpec:
    lora = resolve("llama-3.1-8b-instruct-lora", ["gradient_accumulation=8"])
    return msgspec.structs.replace(lora, **keys)


@pytest.mark.parametrize(
    ("shape", "gpu", "published", "length"),
    [
        (QWEN["7B"], "A100", 2900, 1024),  # QwenLM/Qwen README
        (QWEN["7B"], "A100", 3100, 8192),
        (QWEN["14B"], "A100", 1850, 1024),
        (LLAMA, "RTX PRO 6000", 4962, 1024),  # exxactcorp.com, Hugging Face Transformers
        (LLAMA, "RTX PRO 4500", 2777, 1024),
    ],
)
def test_lora_within_the_stated_uncertainty_of_published_runs(
    shape: Architecture, gpu: str, published: int, length: int
) -> None:
    reckoned = throughput(run(cutoff_len=length), shape, card(gpu), 1).tokens_per_s
    assert reckoned == pytest.approx(published, rel=UNCERTAINTY)


@pytest.mark.parametrize(
    ("faster", "slower"),
    [
        ({"gradient_checkpointing": False}, {"gradient_checkpointing": True}),
        ({"method": "lora"}, {"method": "full"}),
        ({"method": "full", "zero_stage": 2}, {"method": "full", "zero_stage": 3}),
        (
            {"method": "full", "zero_stage": 2},
            {"method": "full", "zero_stage": 2, "offload_optimizer": True},
        ),
        ({"cutoff_len": 2048}, {"cutoff_len": 32768}),
    ],
)
def test_what_costs_speed_costs_it(faster: dict[str, Any], slower: dict[str, Any]) -> None:
    fast = throughput(run(**faster), LLAMA, card("H100"), 4).tokens_per_s
    assert fast > throughput(run(**slower), LLAMA, card("H100"), 4).tokens_per_s


def test_cards_add_up_and_experts_that_rest_cost_nothing() -> None:
    one = throughput(run(), LLAMA, card("H100"), 1)
    assert throughput(run(), LLAMA, card("H100"), 4).tokens_per_s == pytest.approx(4 * one.tokens_per_s)
    sparse = known_models()["Qwen/Qwen3-30B-A3B-Instruct-2507"]
    dense = known_models()["Qwen/Qwen3-32B"]
    faster = throughput(run(), sparse, card("H100"), 1).tokens_per_s
    assert faster > 3 * throughput(run(), dense, card("H100"), 1).tokens_per_s


def test_the_time_is_the_tokens_by_the_speed() -> None:
    speed = throughput(run(), LLAMA, card("H100"), 1)
    assert speed.seconds(10 * speed.tokens_per_s) == pytest.approx(10)
