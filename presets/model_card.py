"""The model card of an export: what a model was made of, how, and how well it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from presets.spec import RunSpec


@dataclass(frozen=True)
class Outcome:
    """A checkpoint's numbers, None where they are not known."""

    step: int
    loss: float | None = None
    eval_loss: float | None = None


def model_card(
    spec: RunSpec, outcome: Outcome, data: Mapping[str, Any] | None, *, adapter_only: bool, title: str
) -> str:
    """Return a README.md as the Hub reads it: YAML metadata, then Markdown."""
    metadata: dict[str, Any] = {
        "library_name": "peft" if adapter_only else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["finetui", spec.method, spec.stage],
    }
    if spec.tiny_model is None:
        metadata = {"base_model": spec.model, **metadata}
    front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    kind = "A LoRA adapter for" if adapter_only else "A fine-tuned"
    rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in _facts(spec, outcome, data))
    return (
        f"---\n{front}---\n\n# {title}\n\n{kind} {spec.model}, trained with finetui "
        f"({spec.trainer}, {spec.method}).\n\n| | |\n|---|---|\n{rows}\n\n"
        f"Chat template: `{spec.template}`; use the one that comes with the tokenizer.\n"
    )


def _facts(
    spec: RunSpec, outcome: Outcome, data: Mapping[str, Any] | None
) -> list[tuple[str, str | float | None]]:
    length = f"{spec.max_steps} steps" if spec.max_steps is not None else f"{spec.epochs:g} epochs"
    batch = spec.micro_batch * spec.gradient_accumulation * spec.gpus
    facts: list[tuple[str, str | float | None]] = [
        ("Base model", spec.model),
        ("Preset", spec.preset),
        ("Method", spec.method + (f", rank {spec.lora_rank}" if spec.method in ("lora", "qlora") else "")),
        ("Length", f"{length}, {batch} rows a step, up to {spec.cutoff_len} tokens each"),
        ("Learning rate", f"{spec.learning_rate:g}, {spec.scheduler}"),
        ("Checkpoint", f"step {outcome.step}"),
        ("Training loss", outcome.loss),
        ("Evaluation loss", outcome.eval_loss),
    ]
    if data is not None:
        facts += [
            ("Data", f"{data.get('name')}, {data.get('rows')} rows"),
            ("SHA-256 of the data", str(data.get("sha256"))),
        ]
    return [(name, value) for name, value in facts if value is not None]


def _cell(value: str | float | None) -> str:
    text = value if isinstance(value, str) else f"{value:.4g}"
    return text.replace("|", "\\|").replace("\n", " ")
