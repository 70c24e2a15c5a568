"""One key and its value, from a preset file or from ``--set``: names, aliases and strict types."""

from __future__ import annotations

import difflib
import functools
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from presets.errors import InvalidInput
from presets.yaml_file import parse_scalar

#: What LLaMA-Factory, transformers and the launchers call the same things.
ALIASES = {
    "model_name_or_path": "model",
    "finetuning_type": "method",
    "deepspeed": "zero_stage",
    "zero": "zero_stage",
    "num_gpus": "gpus",
    "nproc_per_node": "gpus",
    "ranks": "gpus",
    "batch_size": "micro_batch",
    "per_device_train_batch_size": "micro_batch",
    "gradient_accumulation_steps": "gradient_accumulation",
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "lr": "learning_rate",
    "lr_scheduler_type": "scheduler",
    "warmup_steps": "warmup",
    "warmup_ratio": "warmup",
    "rank": "lora_rank",
    "alpha": "lora_alpha",
    "max_seq_length": "cutoff_len",
    "sequence_len": "cutoff_len",
    "save_total_limit": "save_limit",
    "val_size": "eval_share",
    "enable_liger_kernel": "liger",
}

_TYPE_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict: "a mapping",
    type(None): "null",
}


@dataclass(frozen=True)
class Setting:
    """A value and where it was written, for messages."""

    key: str
    value: Any
    where: str


def parse_sets(sets: Sequence[str], struct: type[msgspec.Struct]) -> list[Setting]:
    """Read ``KEY=VALUE`` items, VALUE as a YAML scalar; raises InvalidInput."""
    return [_parse_set(item, struct) for item in sets]


def _parse_set(item: str, struct: type[msgspec.Struct]) -> Setting:
    key, equals, text = item.partition("=")
    key, where = key.strip(), f"--set {item}"
    if not equals or not key:
        raise InvalidInput(f"{where} is not KEY=VALUE.", remedy="Write for example --set epochs=2")
    outer, dot, inner = key.partition(".")
    outer = ALIASES.get(outer, outer)
    check_known(outer, where, struct)
    value = parse_scalar(text, where)
    if outer == "preset":
        raise InvalidInput(f"{where}: the preset is named by the command.", remedy="Give the preset's name.")
    if not dot:
        return Setting(outer, value, where)
    if outer not in ("trainer_args", "tiny_model") or not inner:
        raise InvalidInput(
            f"{where}: {outer} has no parts.",
            remedy=f"Write --set {outer}=VALUE; raw keys of the trainer are --set trainer_args.KEY=VALUE",
        )
    return Setting(outer, {inner: value}, where)


@functools.cache
def _types(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Types of the fields by name; msgspec works them out anew at every call."""
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def check_known(key: str, where: str, struct: type[msgspec.Struct]) -> None:
    """Raise InvalidInput with the nearest names when ``key`` is no field of ``struct``."""
    names = _types(struct)
    if key in names:
        return
    near = difflib.get_close_matches(key, [*names, *ALIASES], n=3, cutoff=0.55)
    if key in ("bf16", "fp16", "fp32"):
        near = ["precision"]
    raise InvalidInput(
        f"{where}: there is no key {key!r}.",
        cause=f"Nearest: {', '.join(near)}." if near else f"The keys are: {', '.join(names)}.",
        remedy="For a raw key of the trainer's YAML write --set trainer_args.KEY=VALUE",
    )


def convert(setting: Setting, struct: type[msgspec.Struct]) -> Any:
    """Return the value with the type of its field; raises InvalidInput saying the type expected."""
    check_known(setting.key, setting.where, struct)
    kind = _types(struct)[setting.key]
    try:
        return msgspec.convert(setting.value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"{setting.where}: {setting.key} must be {words_for(kind)}, not {_shown(setting.value)}.",
            cause=str(error) if isinstance(setting.value, dict) else "",
            remedy=_type_remedy(setting, kind),
        ) from error


def words_for(hint: Any) -> str:
    """Describe a type to people: ``a whole number``, ``one of full, lora``, ..."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(str(choice) for choice in typing.get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(words_for(arg) for arg in typing.get_args(hint))
    if origin is dict or (isinstance(hint, type) and issubclass(hint, msgspec.Struct)):
        return "a mapping"
    return _TYPE_WORDS.get(hint, str(hint))


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    kind = _TYPE_WORDS.get(type(value), type(value).__name__)
    return f"{value!r} ({kind})"


def _type_remedy(setting: Setting, hint: Any) -> str:
    if isinstance(setting.value, str) and not isinstance(parse_bare(setting.value), str):
        return f"Write {setting.value} without quotes."
    if typing.get_origin(hint) is typing.Literal and isinstance(setting.value, str):
        choices = [str(choice) for choice in typing.get_args(hint)]
        near = difflib.get_close_matches(setting.value, choices, n=1)
        if near:
            return f"Did you mean {near[0]}?"
    return f"Give {setting.key} {words_for(hint)}."


def parse_bare(text: str) -> Any:
    """Read ``text`` as YAML would without its quotes, or return it unchanged."""
    try:
        return parse_scalar(text, "value")
    except InvalidInput:
        return text
