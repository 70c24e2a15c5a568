"""What a run is: an immutable, validated RunSpec, made from a preset and ``--set`` overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from presets import catalog
from presets.errors import InvalidInput
from presets.rules import check_together
from presets.settings import Setting, convert, parse_sets


class TinyModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A small Llama that is built in place, with a tokenizer trained on the run's own data."""

    hidden_size: int = 192
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 512
    vocab_size: int = 2048
    max_position_embeddings: int = 2048


class RunSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training run, in the terms of the field; lengths in tokens, saves and logs in optimizer steps."""

    preset: str
    model: str
    trainer: Literal["llamafactory", "axolotl"] = "llamafactory"
    #: Supervised fine-tuning, preference pairs, or plain text continued.
    stage: Literal["sft", "dpo", "pt"] = "sft"
    method: Literal["full", "freeze", "lora", "qlora"]
    quantization_bit: Literal[4, 8] | None = None
    template: str

    launcher: Literal["deepspeed", "torchrun"] = "torchrun"
    #: Ranks; one GPU each, or one share of the cores each on a machine without.
    gpus: int = 1
    #: None trains without DeepSpeed.
    zero_stage: Literal[0, 1, 2, 3] | None = None
    offload_optimizer: bool = False
    offload_param: bool = False

    cutoff_len: int = 2048
    micro_batch: int = 1
    gradient_accumulation: int = 1
    epochs: float = 3.0
    #: Takes the place of ``epochs`` where it is given.
    max_steps: int | None = None
    learning_rate: float
    scheduler: Literal[
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"
    ] = "cosine"
    #: Steps where it is a whole number, a share of all steps where it is below 1.
    warmup: int | float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0

    lora_rank: int = 8
    lora_alpha: int | None = None
    lora_dropout: float = 0.0
    #: ``all`` linear layers, or names separated by commas.
    lora_target: str = "all"

    #: How far DPO may leave the reference (its beta), and which of its losses.
    pref_beta: float = 0.1
    pref_loss: Literal["sigmoid", "hinge", "ipo", "orpo", "simpo"] = "sigmoid"

    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    gradient_checkpointing: bool = True
    packing: bool = False
    neat_packing: bool = False
    flash_attn: Literal["auto", "disabled", "sdpa", "fa2"] = "auto"
    liger: bool = False

    save_steps: int = 500
    save_limit: int | None = 3
    #: Keeps the checkpoint with the lowest eval_loss too, however old.
    keep_best: bool = False
    save_only_model: bool = False
    logging_steps: int = 5
    #: Share of the rows kept back to measure eval_loss; 0 for none.
    eval_share: float = 0.0
    eval_steps: int = 100
    seed: int = 42
    report_to: Literal["none"] = "none"

    #: Raw keys of the trainer's YAML, merged last.
    trainer_args: dict[str, Any] = {}
    tiny_model: TinyModel | None = None
    #: For people: why these values, and on which cards.
    why: str = ""
    needs: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the whole spec as JSON-ready values."""
        return dict(msgspec.to_builtins(self))


#: The keys that a preset can't do without.
_REQUIRED = tuple(field.name for field in msgspec.structs.fields(RunSpec) if field.required)


def resolve(preset_name: str, sets: Sequence[str] = (), *, extra_dirs: Sequence[Path] = ()) -> RunSpec:
    """Return the preset with its ``KEY=VALUE`` overrides applied.

    Raises InvalidInput for an unknown preset, an unknown key, a value of the wrong type, and values that
    can't work together; each names its place and the fix.
    """
    recipe = catalog.load(preset_name, extra_dirs)
    settings = dict(recipe.settings)
    for setting in parse_sets(sets, RunSpec):
        settings[setting.key] = _merged(settings.get(setting.key), setting)
    name = Path(preset_name).stem if preset_name.endswith((".yaml", ".yml")) else preset_name
    settings["preset"] = Setting("preset", name, "the preset's name")
    values = {key: convert(setting, RunSpec) for key, setting in settings.items()}
    _check_complete(values, recipe.source)
    spec = RunSpec(**values)
    check_together(spec, {key: setting.where for key, setting in settings.items()})
    return spec


def from_dict(config: dict[str, Any]) -> RunSpec:
    """Read back what ``RunSpec.to_dict`` gave, ignoring keys of other versions; raises InvalidInput."""
    known = {field.name for field in msgspec.structs.fields(RunSpec)}
    try:
        return msgspec.convert({key: value for key, value in config.items() if key in known}, RunSpec)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            "The run's own description can't be read.",
            cause=str(error),
            remedy="It was written by another version of finetui; launch the run again.",
        ) from error


def _merged(before: Setting | None, override: Setting) -> Setting:
    """``trainer_args.KEY=V`` adds to the preset's; everything else replaces."""
    if before and isinstance(before.value, dict) and isinstance(override.value, dict):
        return Setting(override.key, {**before.value, **override.value}, override.where)
    return override


def _check_complete(values: dict[str, Any], source: str) -> None:
    missing = [name for name in _REQUIRED if name not in values]
    if missing:
        raise InvalidInput(
            f"{source} lacks {', '.join(missing)}.", remedy=f"Add a line `{missing[0]}: ...` to the preset."
        )
