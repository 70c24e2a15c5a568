"""A user's own Axolotl YAML as a run: what has a name of ours is read, the rest is kept as raw keys.

What the file does not say is Axolotl's default and not ours. Where things lie is finetui's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from presets.errors import InvalidInput
from presets.own_yaml import zero_settings
from presets.settings import Setting
from presets.yaml_file import Document

#: Axolotl's names for our keys of the same meaning.
SAME_KEYS = {
    "base_model": "model",
    "sequence_len": "cutoff_len",
    "micro_batch_size": "micro_batch",
    "gradient_accumulation_steps": "gradient_accumulation",
    "num_epochs": "epochs",
    "max_steps": "max_steps",
    "learning_rate": "learning_rate",
    "lr_scheduler": "scheduler",
    "warmup_steps": "warmup",
    "warmup_ratio": "warmup",
    "weight_decay": "weight_decay",
    "max_grad_norm": "max_grad_norm",
    "lora_r": "lora_rank",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "sample_packing": "packing",
    "gradient_checkpointing": "gradient_checkpointing",
    "save_steps": "save_steps",
    "save_total_limit": "save_limit",
    "save_only_model": "save_only_model",
    "logging_steps": "logging_steps",
    "eval_steps": "eval_steps",
    "val_set_size": "eval_share",
    "seed": "seed",
}
#: What Axolotl 0.19 and transformers do where a file says nothing and our presets do otherwise.
_DEFAULTS: dict[str, Any] = {
    "trainer": "axolotl",
    "launcher": "torchrun",
    "cutoff_len": 512,
    "micro_batch": 1,
    "gradient_accumulation": 1,
    "epochs": 1.0,
    "learning_rate": 5.0e-5,
    "scheduler": "cosine",
    "warmup": 0,
    "gradient_checkpointing": False,
    "precision": "fp32",
}
_PLACES = frozenset(
    {"datasets", "dataset_prepared_path", "output_dir", "resume_from_checkpoint", "local_rank",
     "auto_resume_from_checkpoints", "chat_template_jinja", "test_datasets"}
)  # fmt: skip
_READ_APART = frozenset(
    {"adapter", "load_in_8bit", "load_in_4bit", "bf16", "fp16", "bfloat16", "float16", "lora_target_linear",
     "lora_target_modules", "chat_template", "deepspeed", "special_tokens"}
)  # fmt: skip
#: Axolotl's names of chat templates that are ours under another one.
_TEMPLATES = {
    "chatml": "chatml",
    "llama3": "llama3",
    "mistral_v1": "mistral",
    "gemma": "gemma",
    "gemma3": "gemma3",
    "phi_3": "phi",
    "phi_4": "phi4",
    "qwen_25": "qwen",
    "qwen3": "qwen3",
    "alpaca": "alpaca",
    "llama2": "llama2",
}
#: Types of a dataset whose rows finetui recognises by their columns.
_ALPACA_TYPES = frozenset({"alpaca", "alpaca:chat", "alpaca_chat", "alpaca_chat.load_qa"})


def read_own_axolotl(document: Document, folder: Path) -> dict[str, Setting]:
    """Return the settings of an Axolotl YAML; a DeepSpeed file that it names is looked for from ``folder``.

    Raises InvalidInput for what finetui can't run, naming the line.
    """
    keys = document.values
    settings = {key: Setting(key, value, "Axolotl's default") for key, value in _DEFAULTS.items()}
    for theirs, value in keys.items():
        if theirs in SAME_KEYS and value is not None:
            settings[SAME_KEYS[theirs]] = Setting(SAME_KEYS[theirs], value, document.where(theirs))
    for read in (_method, _precision, _targets, _data):
        settings |= read(document)
    settings |= zero_settings(document, folder)
    known = SAME_KEYS.keys() | _PLACES | _READ_APART
    raw = {key: value for key, value in keys.items() if key not in known and value is not None}
    settings["trainer_args"] = Setting("trainer_args", raw, document.source)
    settings["why"] = Setting("why", f"Your own Axolotl file {document.source}.", document.source)
    return settings


def axolotl_dataset(document: Document, folder: Path) -> Path:
    """Return the file that is the YAML's one dataset; raises InvalidInput when it is not a local file."""
    entry = _entry(document)
    path = folder / str(entry.get("path", "")).strip()
    if not path.is_file():
        raise InvalidInput(
            f"{document.where('datasets')}: {entry.get('path')} is not a file here.",
            remedy="Set path to a JSONL, JSON or CSV file, or name one with --data.",
        )
    return path


def _entry(document: Document) -> dict[str, Any]:
    entries = document.values.get("datasets")
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        raise InvalidInput(
            f"{document.where('datasets')}: finetui trains on one dataset.",
            remedy="Join several into one file; write datasets: [{path: rows.jsonl, type: alpaca}].",
        )
    entry: dict[str, Any] = entries[0]
    return entry


def _method(document: Document) -> dict[str, Setting]:
    keys = document.values
    adapter = keys.get("adapter")
    bits = 4 if keys.get("load_in_4bit") else 8 if keys.get("load_in_8bit") else None
    where = document.where("adapter")
    if adapter not in (None, "lora", "qlora"):
        raise InvalidInput(f"{where}: {adapter} is not run here.", remedy="Use lora or qlora, or none.")
    if adapter is None:
        return {"method": Setting("method", "full", where)}
    if adapter == "qlora" or bits is not None:
        quantised = Setting("quantization_bit", bits or 4, where)
        return {"method": Setting("method", "qlora", where), "quantization_bit": quantised}
    return {"method": Setting("method", "lora", where)}


def _precision(document: Document) -> dict[str, Setting]:
    for key, precision in (("bf16", "bf16"), ("bfloat16", "bf16"), ("fp16", "fp16"), ("float16", "fp16")):
        if document.values.get(key) in (True, "auto", "full"):
            return {"precision": Setting("precision", precision, document.where(key))}
    return {}


def _targets(document: Document) -> dict[str, Setting]:
    modules = document.values.get("lora_target_modules")
    if not modules:
        return {}
    names = ",".join(map(str, modules)) if isinstance(modules, list) else str(modules)
    return {"lora_target": Setting("lora_target", names, document.where("lora_target_modules"))}


def _data(document: Document) -> dict[str, Setting]:
    """Read stage and template: by the dataset's type, and by the chat template where it is one."""
    kind = _entry(document).get("type")
    where = document.where("datasets")
    if kind == "completion":
        return {
            "stage": Setting("stage", "pt", where),
            "template": Setting("template", "default", where),
        }
    if kind in _ALPACA_TYPES:
        return {"template": Setting("template", "alpaca", where)}
    if kind != "chat_template":
        raise InvalidInput(
            f"{where}: rows of the type {kind!r} are not read here.",
            remedy="Use the type chat_template with a chat_template, or alpaca, or completion.",
        )
    named = document.values.get("chat_template")
    if named not in _TEMPLATES:
        raise InvalidInput(
            f"{document.where('chat_template')}: the chat template {named!r} is not known here.",
            cause=f"Known are: {', '.join(_TEMPLATES)}.",
            remedy="Write the one that the model was made with.",
        )
    return {"template": Setting("template", _TEMPLATES[named], document.where("chat_template"))}
