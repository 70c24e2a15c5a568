"""A user's own LLaMA-Factory YAML as a run: recognised by its content, read as our keys, the rest kept raw.

What the file does not say is LLaMA-Factory's default and not ours, so that the run is the one that the file
describes; only where things lie (dataset, output) is finetui's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from presets.errors import InvalidInput
from presets.settings import Setting
from presets.yaml_file import Document

Kind = Literal["llamafactory", "axolotl", "preset"]

#: LLaMA-Factory's names for our keys of the same meaning.
SAME_KEYS = {
    "model_name_or_path": "model",
    "stage": "stage",
    "template": "template",
    "cutoff_len": "cutoff_len",
    "per_device_train_batch_size": "micro_batch",
    "gradient_accumulation_steps": "gradient_accumulation",
    "num_train_epochs": "epochs",
    "learning_rate": "learning_rate",
    "lr_scheduler_type": "scheduler",
    "warmup_steps": "warmup",
    "warmup_ratio": "warmup",
    "weight_decay": "weight_decay",
    "max_grad_norm": "max_grad_norm",
    "lora_rank": "lora_rank",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "lora_target": "lora_target",
    "pref_beta": "pref_beta",
    "pref_loss": "pref_loss",
    "quantization_bit": "quantization_bit",
    "packing": "packing",
    "neat_packing": "neat_packing",
    "flash_attn": "flash_attn",
    "enable_liger_kernel": "liger",
    "save_steps": "save_steps",
    "save_total_limit": "save_limit",
    "save_only_model": "save_only_model",
    "logging_steps": "logging_steps",
    "eval_steps": "eval_steps",
    "seed": "seed",
}
#: What LLaMA-Factory 0.9.5 and transformers 5.6.0 do where a file says nothing and our presets do otherwise.
_DEFAULTS: dict[str, Any] = {
    "micro_batch": 8,
    "learning_rate": 5.0e-5,
    "scheduler": "linear",
    "warmup": 0,
    "save_limit": None,
    "precision": "fp32",
}
#: Where things lie and what a run writes is finetui's; these are left out.
_PLACES = frozenset(
    {"dataset", "dataset_dir", "eval_dataset", "output_dir", "overwrite_output_dir", "do_train", "do_eval",
     "do_predict", "overwrite_cache", "plot_loss", "resume_from_checkpoint", "tokenized_path", "logging_dir",
     "logging_first_step", "logging_nan_inf_filter", "save_strategy"}
)  # fmt: skip
_READ_APART = frozenset(
    {"finetuning_type", "bf16", "fp16", "max_steps", "val_size", "deepspeed", "report_to",
     "disable_gradient_checkpointing", "quantization_method"}
)  # fmt: skip


def kind_of(keys: Mapping[str, Any]) -> Kind:
    """Say whose YAML this is, by its keys."""
    if "model_name_or_path" in keys or "finetuning_type" in keys:
        return "llamafactory"
    return "axolotl" if "base_model" in keys and "datasets" in keys else "preset"


def read_own(document: Document, folder: Path) -> dict[str, Setting]:
    """Return the settings of a LLaMA-Factory YAML; files that it names are looked for from ``folder``.

    Raises InvalidInput for what finetui can't run, naming the line.
    """
    keys = document.values
    settings = {key: Setting(key, value, "LLaMA-Factory's default") for key, value in _DEFAULTS.items()}
    for theirs, value in keys.items():
        if theirs in SAME_KEYS and value is not None:
            settings[SAME_KEYS[theirs]] = _setting(document, theirs, SAME_KEYS[theirs], value)
    for read in (_method, _precision, _steps, _evaluation, _checkpointing):
        settings |= read(document)
    settings |= zero_settings(document, folder)
    raw = {
        key: value
        for key, value in keys.items()
        if key not in SAME_KEYS and key not in _PLACES and key not in _READ_APART and value is not None
    }
    if keys.get("report_to") not in (None, "none"):
        raw["report_to"] = keys["report_to"]
    if _is_count(keys.get("val_size")):
        raw["val_size"] = keys["val_size"]
    settings["trainer_args"] = Setting("trainer_args", raw, document.source)
    why = f"Your own LLaMA-Factory file {document.source}."
    if "zero_stage" in settings:
        why += " Of its DeepSpeed file, stage and offload are taken; the rest is finetui's of the same stage."
    settings["why"] = Setting("why", why, document.source)
    if keys.get("eval_dataset") and not keys.get("val_size"):
        raise InvalidInput(
            f"{document.where('eval_dataset')}: a dataset of its own for evaluation is not supported.",
            remedy="Write val_size: 0.05 in its place, to keep back a share of the rows.",
        )
    if "template" not in settings:
        raise InvalidInput(
            f"{document.source} names no template.",
            cause="LLaMA-Factory would guess one from the tokenizer, or use none with only a warning.",
            remedy="Add a line such as template: llama3.",
        )
    return settings


def _setting(document: Document, theirs: str, ours: str, value: Any) -> Setting:
    return Setting(ours, value, document.where(theirs))


def _method(document: Document) -> dict[str, Setting]:
    """LLaMA-Factory's default method is LoRA; on a quantised base that is QLoRA."""
    theirs = document.values.get("finetuning_type", "lora")
    if document.values.get("quantization_method") not in (None, "bnb", "bitsandbytes"):
        raise InvalidInput(
            f"{document.where('quantization_method')}: only bitsandbytes can be trained here.",
            remedy="Take the line out, or write quantization_method: bnb.",
        )
    quantised = document.values.get("quantization_bit") is not None
    method = "qlora" if theirs == "lora" and quantised else theirs
    return {"method": Setting("method", method, document.where("finetuning_type"))}


def _precision(document: Document) -> dict[str, Setting]:
    for key in ("bf16", "fp16"):
        if document.values.get(key) is True:
            return {"precision": Setting("precision", key, document.where(key))}
    return {}


def _steps(document: Document) -> dict[str, Setting]:
    """Below 1, as -1 in many files, epochs count."""
    steps = document.values.get("max_steps")
    if steps is None or (isinstance(steps, int) and steps < 1):
        return {}
    return {"max_steps": Setting("max_steps", steps, document.where("max_steps"))}


def _evaluation(document: Document) -> dict[str, Setting]:
    share = document.values.get("val_size")
    if share is None or _is_count(share):
        return {}
    return {"eval_share": Setting("eval_share", share, document.where("val_size"))}


def _is_count(size: Any) -> bool:
    """From 1 on val_size is a number of rows, below a share of them."""
    return isinstance(size, int | float) and not isinstance(size, bool) and size >= 1


def _checkpointing(document: Document) -> dict[str, Setting]:
    off = document.values.get("disable_gradient_checkpointing")
    if not isinstance(off, bool):
        return {}
    where = document.where("disable_gradient_checkpointing")
    return {"gradient_checkpointing": Setting("gradient_checkpointing", not off, where)}


def zero_settings(document: Document, folder: Path) -> dict[str, Setting]:
    """Read stage and offload from the DeepSpeed file; ours of the same stage takes its place."""
    named = document.values.get("deepspeed")
    if named is None:
        return {}
    where = document.where("deepspeed")
    config = named if isinstance(named, dict) else _json_file(folder / str(named))
    if config is None:
        match = re.search(r"z(?:ero)?_?([0-3])", str(named))
        if match is None:
            raise InvalidInput(
                f"{where}: {named} is not there, and its name does not say a ZeRO stage.",
                remedy="Put the file beside the YAML, or give --set zero_stage=2 and take the line out.",
            )
        name = str(named)
        config = {"zero_optimization": {"stage": int(match[1]), **_offloads(name, int(match[1]))}}
    zero = config.get("zero_optimization", {})
    zero = zero if isinstance(zero, dict) else {}
    values = {
        "launcher": "deepspeed",
        "zero_stage": zero.get("stage", 0),
        "offload_optimizer": _is_offloaded(zero.get("offload_optimizer")),
        "offload_param": _is_offloaded(zero.get("offload_param")),
    }
    return {key: Setting(key, value, where) for key, value in values.items()}


def _offloads(name: str, stage: int) -> dict[str, Any]:
    if "offload" not in name:
        return {}
    device = {"device": "cpu"}
    return {"offload_optimizer": device} | ({"offload_param": device} if stage == 3 else {})


def _is_offloaded(part: Any) -> bool:
    return isinstance(part, dict) and part.get("device") not in (None, "none")


def _json_file(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, None where there is no such file; raises InvalidInput when it is broken."""
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InvalidInput(
            f"{path} can't be read as JSON.", cause=str(error), remedy="Mend the DeepSpeed file."
        ) from error
    if not isinstance(config, dict):
        raise InvalidInput(f"{path} is not a JSON object.", remedy="Mend the DeepSpeed file.")
    return config
