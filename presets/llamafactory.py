"""RunSpec -> what LLaMA-Factory 0.9.5 reads: its YAML and its dataset_info.json.

All paths are relative to the prepared folder, which is the working directory of every step.
"""

from __future__ import annotations

from typing import Any

from presets.spec import RunSpec

DATASET = "train"
MODEL_FOLDER = "model"
DEEPSPEED_FILE = "deepspeed.json"


def train_arguments(spec: RunSpec) -> dict[str, Any]:
    """Return the keys of the training YAML; ``trainer_args`` come last and win."""
    return {
        **_model(spec),
        **_method(spec),
        **_data(spec),
        **_schedule(spec),
        **_reporting(spec),
        **_evaluation(spec),
        **spec.trainer_args,
    }


def dataset_info(stage: str) -> dict[str, Any]:
    """Describe the normalised dataset: text for pt, pairs for dpo, else conversations.

    Formatting ``sharegpt`` with these tags, because ``openai`` in 0.9.5 adds a system prompt of its own
    ("detailed thinking off") to every row.
    """
    if stage == "pt":
        return {DATASET: {"file_name": "train.jsonl", "columns": {"prompt": "text"}}}
    info: dict[str, Any] = {
        "file_name": "train.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
    if stage == "dpo":
        info["ranking"] = True
        info["columns"] |= {"chosen": "chosen", "rejected": "rejected"}
    return {DATASET: info}


def finetuning_type(method: str) -> str:
    """Return LLaMA-Factory's name of a method: QLoRA is LoRA on a quantised base."""
    return "lora" if method == "qlora" else method


def _model(spec: RunSpec) -> dict[str, Any]:
    # With "./" a folder that is missing gives an error, and is not looked up on the Hub.
    name = f"./{MODEL_FOLDER}" if spec.tiny_model is not None else spec.model
    keys: dict[str, Any] = {
        "model_name_or_path": name,
        "trust_remote_code": False,
        "flash_attn": spec.flash_attn,
        "disable_gradient_checkpointing": not spec.gradient_checkpointing,
    }
    if spec.liger:
        keys["enable_liger_kernel"] = True
    if spec.quantization_bit is not None:
        keys |= {"quantization_bit": spec.quantization_bit, "quantization_method": "bnb"}
    return keys


def _method(spec: RunSpec) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "stage": spec.stage,
        "do_train": True,
        "finetuning_type": finetuning_type(spec.method),
    }
    if spec.method in ("lora", "qlora"):
        keys |= {
            "lora_rank": spec.lora_rank,
            "lora_alpha": spec.lora_alpha if spec.lora_alpha is not None else 2 * spec.lora_rank,
            "lora_dropout": spec.lora_dropout,
            "lora_target": spec.lora_target,
        }
    if spec.stage == "dpo":
        keys |= {"pref_beta": spec.pref_beta, "pref_loss": spec.pref_loss}
    if spec.zero_stage is not None:
        keys["deepspeed"] = DEEPSPEED_FILE
    return keys


def _data(spec: RunSpec) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "dataset": DATASET,
        "dataset_dir": "data",
        "template": spec.template,
        "cutoff_len": spec.cutoff_len,
        "overwrite_cache": True,
    }
    # Left out when false: for stage pt the trainer packs unless told otherwise, and so do we.
    if spec.packing or spec.stage == "pt":
        keys["packing"] = spec.packing
    if spec.neat_packing:
        keys["neat_packing"] = True
    return keys


def _schedule(spec: RunSpec) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "per_device_train_batch_size": spec.micro_batch,
        "gradient_accumulation_steps": spec.gradient_accumulation,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": spec.scheduler,
        # A share as well as a number of steps; warmup_ratio is deprecated in transformers 5.
        "warmup_steps": spec.warmup,
        "weight_decay": spec.weight_decay,
        "max_grad_norm": spec.max_grad_norm,
        "bf16": spec.precision == "bf16",
        "fp16": spec.precision == "fp16",
        "seed": spec.seed,
        "ddp_timeout": 7200,
    }
    if spec.max_steps is not None:
        return keys | {"max_steps": spec.max_steps}
    return keys | {"num_train_epochs": spec.epochs}


def _reporting(spec: RunSpec) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "output_dir": "output",
        "logging_steps": spec.logging_steps,
        "logging_first_step": True,
        # A loss that is NaN has to be seen, not averaged away.
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        "plot_loss": False,
        "report_to": spec.report_to,
        "save_strategy": "steps",
        "save_steps": spec.save_steps,
        "save_only_model": spec.save_only_model,
    }
    if spec.save_limit is not None:
        keys["save_total_limit"] = spec.save_limit
    return keys


def _evaluation(spec: RunSpec) -> dict[str, Any]:
    if not spec.eval_share:
        return {"eval_strategy": "no"}
    keys: dict[str, Any] = {
        "val_size": spec.eval_share,
        "eval_strategy": "steps",
        "eval_steps": spec.eval_steps,
        "per_device_eval_batch_size": spec.micro_batch,
    }
    if spec.keep_best:
        # transformers' rotation spares the best one by this metric, also without loading it at the end.
        keys |= {"metric_for_best_model": "eval_loss", "greater_is_better": False}
    return keys
