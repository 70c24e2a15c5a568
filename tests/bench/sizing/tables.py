"""Prints the tables of docs/SIZING.md: what is reckoned beside what was published or counted.

PYTHONPATH=. .venv/bin/python tests/bench/sizing/tables.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from presets.gpus import card
from presets.models import known_models
from presets.throughput import throughput
from tests.unit.presets.test_sizing import (
    GB,
    LLAMA,
    QWEN,
    QWEN_ROWS,
    REPOSITORY_TABLE,
    counted,
    fewest_cards,
    need,
    reckoned,
    run,
    total_gb,
)


def main() -> None:
    """Print all tables as Markdown."""
    print("### The repository's memory table (GB)\n")
    show(("", *LLAMA), repository_rows())
    print("\n### QwenLM/Qwen, A100 80 GB (GB over all cards; published / reckoned)\n")
    show(("run", "256", "512", "1024", "2048", "4096", "8192"), qwen_rows())
    print("\n### Counted on real models (MB of activations and logits, batch 1; counted / reckoned)\n")
    show(("model", "tokens", "layers", "checkpointing", "without"), counted_rows())
    print("\n### Speed (tokens/s on each card; published / reckoned)\n")
    show(("run", "card", "published", "reckoned"), speed_rows())


def show(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(heads) + " |")
    print("|" + " --- |" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def repository_rows() -> Iterable[Sequence[str]]:
    """Yield published, reckoned and by how much they differ."""
    for method, cells in REPOSITORY_TABLE.items():
        keys = {"lora_rank": 16, "method": method}
        if method.startswith("qlora"):
            keys |= {"method": "qlora", "quantization_bit": int(method[-1])}
        row = [method]
        for shape, (published, size) in zip(LLAMA.values(), cells, strict=True):
            if size is None:
                value = need(shape, **keys).per_gpu_bytes / GB
                row.append(f"{published} / {value:.0f} ({value / published - 1:+.0%})")
            else:
                count = fewest_cards(shape, size, keys)
                row.append(f"{published} / {count} x {size}")
        yield row


def qwen_rows() -> Iterable[Sequence[str]]:
    """Yield published and reckoned by length."""
    for model, method, gpus, keys, published, _ in QWEN_ROWS:
        name = f"{model} {method}" + (f", ZeRO-3 on {gpus}" if gpus > 1 else "")
        row = [name]
        for step, gigabytes in enumerate(published):
            value = total_gb(QWEN[model], gpus, method, lora_rank=64, cutoff_len=256 * 2**step, **keys)
            row.append(f"{gigabytes} / {value:.4g} ({value / gigabytes - 1:+.0%})")
        yield [*row, *[""] * (7 - len(row))]


def counted_rows() -> Iterable[Sequence[str]]:
    """Yield LoRA cases of 4096 tokens; with checkpointing and without."""
    cases = {(case["model"], case["checkpointing"]): case for case in counted() if is_shown(case)}
    for model in dict.fromkeys(name for name, _ in cases):
        cells = []
        for checkpointing in (True, False):
            case = cases[model, checkpointing]
            layers, seen = case["layers"][1], case["peak"][1] - case["weights"][1]
            value = reckoned(case, layers)
            cells.append(f"{seen / 1e6:.0f} / {value / 1e6:.0f} ({value / seen - 1:+.0%})")
        yield (model, "4096", str(layers), *cells)


def is_shown(case: dict[str, object]) -> bool:
    """Take LoRA, where no gradient of the weights hides the activations, at the greater length."""
    return bool(case["lora"]) and case["tokens"] == 4096


def speed_rows() -> Iterable[Sequence[str]]:
    """Yield the published speeds of trainers on Hugging Face's stack or close to it."""
    llama = known_models()["meta-llama/Llama-3.1-8B-Instruct"]
    cases = [
        ("Qwen-7B LoRA 1024 (QwenLM/Qwen)", QWEN["7B"], "A100 80GB", 2900, "lora", {"cutoff_len": 1024}),
        ("Qwen-7B LoRA 8192 (QwenLM/Qwen)", QWEN["7B"], "A100 80GB", 3100, "lora", {"cutoff_len": 8192}),
        ("Qwen-14B LoRA 1024 (QwenLM/Qwen)", QWEN["14B"], "A100 80GB", 1850, "lora", {"cutoff_len": 1024}),
        ("Llama-3.1-8B LoRA (exxact)", llama, "RTX PRO 6000", 4962, "lora", {"cutoff_len": 1024}),
        ("Llama-3.1-8B LoRA (exxact)", llama, "RTX PRO 4500", 2777, "lora", {"cutoff_len": 1024}),
        ("Llama-3.1-8B LoRA, compiled (torchtune)", llama, "RTX 4090", 3083, "lora", {"cutoff_len": 2048}),
        ("Llama-3.1-8B QLoRA, compiled (torchtune)", llama, "RTX 4090", 2413, "qlora",
         {"cutoff_len": 2048, "quantization_bit": 4}),
    ]  # fmt: skip
    for name, shape, gpu, published, method, keys in cases:
        value = throughput(run(method, **keys), shape, card(gpu), 1).tokens_per_s
        yield (name, gpu, str(published), f"{value:.0f} ({value / published - 1:+.0%})")


if __name__ == "__main__":
    main()
