"""RunSpec -> what Axolotl 0.19 reads; nothing of its ``integrations/``, whose licence is not the open one.

The chat template is written out as Jinja from templates.yaml, so that the same preset trains on the same text
with either trainer.
"""

from __future__ import annotations

import json
import re
from typing import Any

from presets.axolotl_keys import DEPRECATED, OURS
from presets.errors import InvalidInput
from presets.llamafactory import DEEPSPEED_FILE, MODEL_FOLDER
from presets.spec import RunSpec
from presets.templates import Template, find_template, has_thinking, template_of

TOKENISED_FOLDER = "tokenised"
_LEFT_OUT = DEPRECATED.keys() | OURS
_EITHER = {
    "evals_per_epoch": ("eval_steps", "eval_strategy"),
    "saves_per_epoch": ("save_steps", "save_strategy"),
}


def train_settings(spec: RunSpec) -> dict[str, Any]:
    """Return the keys of Axolotl's YAML; ``trainer_args`` come last and win.

    Raises InvalidInput for what only LLaMA-Factory does here.
    """
    _refuse(spec)
    raw = {key: value for key, value in spec.trainer_args.items() if key not in _LEFT_OUT}
    settings = {**_model(spec), **_data(spec), **_method(spec), **_schedule(spec), **_saving(spec)}
    # Of two ways to say how often, Axolotl takes one only.
    for theirs, ours in _EITHER.items():
        if raw.get(theirs):
            settings = {key: value for key, value in settings.items() if key not in ours}
    return {**settings, **raw}


def jinja(template: Template, *, thinking: bool) -> str:
    """Return a chat template in Jinja that writes what ``templates.parts`` shows."""
    system = f"({_expression(template.system, 'system')} if system else '')"
    first = f"({system} if loop.first else '') + " if template.joined else ""
    user = _expression(template.user, f"({first}message['content'])")
    answer = _answer(template, thinking)
    return (
        "{% if messages[0]['role'] == 'system' %}"
        "{% set system = messages[0]['content'] %}{% set rest = messages[1:] %}{% else %}"
        f"{{% set system = {json.dumps(template.default_system)} %}}{{% set rest = messages %}}{{% endif %}}"
        + _printed(_expression(template.prefix, "''"))
        + ("" if template.joined else _printed(system))
        + "{% for message in rest %}{% if message['role'] == 'user' %}"
        + f"{_printed(user)}{{% else %}}{answer}{{% endif %}}{{% endfor %}}"
        + ("{{ eos_token }}" if template.last_eos else "")
    )


def _answer(template: Template, thinking: bool) -> str:
    """Write an answer; without reasoning it gets an empty one, with reasoning off what there is goes."""
    if template.thought is None:
        return _printed(_expression(template.assistant, "message['content']"))
    begin, end = template.thought
    content = "message['content']"
    if not thinking:
        content += f".split({json.dumps(end)})[-1].lstrip({json.dumps(chr(10))})"
    has_thought = " or ".join(f"{json.dumps(mark.strip())} in content" for mark in (begin, end))
    thought = f"('' if {has_thought} else {json.dumps(begin + end)}) + "
    return f"{{% set content = {content} %}}" + _printed(thought + _expression(template.assistant, "content"))


def _printed(expression: str) -> str:
    return f"{{{{ {expression} }}}}"


def _expression(form: str, content: str) -> str:
    """Write a form of templates.yaml as a Jinja expression."""
    names = {"{content}": content, "{bos}": "bos_token", "{eos}": "eos_token"}
    parts = (part for part in re.split(r"(\{(?:content|bos|eos)\})", form) if part)
    return " + ".join(names.get(part) or json.dumps(part) for part in parts) or '""'


def _refuse(spec: RunSpec) -> None:
    for broken, key, why, remedy in (
        (spec.stage == "dpo", "stage", "preference training", "--set stage=sft"),
        (spec.method == "freeze", "method", "freezing layers", "--set method=lora"),
        (spec.liger, "liger", "Liger kernels (its plug-in is not open source)", "--set liger=false"),
    ):
        if broken:
            raise InvalidInput(
                f"{key}: {why} runs with LLaMA-Factory only, and the trainer is axolotl.",
                remedy=f"Use {remedy}, or --set trainer=llamafactory.",
            )
    plugins = spec.trainer_args.get("plugins") or []
    refused = [plugin for plugin in plugins if "axolotl.integrations" in str(plugin)]
    if refused:
        raise InvalidInput(
            f"plugins: {refused[0]} is not used here: it is not under Axolotl's open licence.",
            remedy="Take it out of plugins.",
        )
    if spec.stage == "sft" and find_template(spec.template) is None:
        raise InvalidInput(
            f"template: {spec.template} is known to LLaMA-Factory only, and the trainer is axolotl.",
            remedy="Use another template, or --set trainer=llamafactory.",
        )


def _model(spec: RunSpec) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "base_model": f"./{MODEL_FOLDER}" if spec.tiny_model is not None else spec.model,
        "trust_remote_code": False,
        "bf16": spec.precision == "bf16",
        "fp16": spec.precision == "fp16",
        "gradient_checkpointing": spec.gradient_checkpointing,
        "attn_implementation": "flash_attention_2" if spec.flash_attn == "fa2" else "sdpa",
    }
    if spec.zero_stage is not None:
        keys["deepspeed"] = DEEPSPEED_FILE
    return keys


def _data(spec: RunSpec) -> dict[str, Any]:
    dataset: dict[str, Any] = {"path": "data/train.jsonl", "ds_type": "json"}
    template = template_of(spec)
    keys: dict[str, Any] = {
        "sequence_len": spec.cutoff_len,
        "sample_packing": spec.packing,
        "eval_sample_packing": False,
        "dataset_prepared_path": TOKENISED_FOLDER,
        "val_set_size": spec.eval_share,
    }
    if spec.stage == "pt" or template is None:
        return {"datasets": [{**dataset, "type": "completion", "field": "text"}], **keys}
    dataset |= {
        "type": "chat_template",
        "field_messages": "messages",
        "message_property_mappings": {"role": "role", "content": "content"},
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }
    if "{eos}" not in template.assistant and not template.last_eos and template.eos in template.assistant:
        keys["special_tokens"] = {"eos_token": template.eos}
    written = jinja(template, thinking=has_thinking(spec))
    return {"datasets": [dataset], "chat_template": "jinja", "chat_template_jinja": written, **keys}


def _method(spec: RunSpec) -> dict[str, Any]:
    if spec.method == "full":
        return {}
    targets = spec.lora_target.strip()
    keys: dict[str, Any] = {
        "adapter": spec.method,
        "lora_r": spec.lora_rank,
        "lora_alpha": spec.lora_alpha if spec.lora_alpha is not None else 2 * spec.lora_rank,
        "lora_dropout": spec.lora_dropout,
    }
    if targets == "all":
        keys["lora_target_linear"] = True
    else:
        keys["lora_target_modules"] = [name.strip() for name in targets.split(",") if name.strip()]
    if spec.quantization_bit == 8:
        # Axolotl's name for LoRA on an 8-bit base; qlora means 4 bits there.
        return keys | {"adapter": "lora", "load_in_8bit": True}
    return keys | ({"load_in_4bit": True} if spec.quantization_bit == 4 else {})


def _schedule(spec: RunSpec) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "micro_batch_size": spec.micro_batch,
        "gradient_accumulation_steps": spec.gradient_accumulation,
        "learning_rate": spec.learning_rate,
        "lr_scheduler": spec.scheduler,
        "optimizer": "adamw_torch",
        "weight_decay": spec.weight_decay,
        "max_grad_norm": spec.max_grad_norm,
        "seed": spec.seed,
        "ddp_timeout": 7200,
    }
    keys["warmup_steps" if isinstance(spec.warmup, int) else "warmup_ratio"] = spec.warmup
    if spec.max_steps is not None:
        return keys | {"max_steps": spec.max_steps}
    return keys | {"num_epochs": spec.epochs}


def _saving(spec: RunSpec) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "output_dir": "output",
        "logging_steps": spec.logging_steps,
        # Counts tokens in the trainer's state, which the metrics read.
        "include_tokens_per_second": True,
        "save_strategy": "steps",
        "save_steps": spec.save_steps,
        "save_only_model": spec.save_only_model,
        "eval_strategy": "steps" if spec.eval_share else "no",
    }
    if spec.save_limit is not None:
        keys["save_total_limit"] = spec.save_limit
    if spec.eval_share:
        keys["eval_steps"] = spec.eval_steps
    if spec.keep_best:
        keys |= {"metric_for_best_model": "eval_loss", "greater_is_better": False}
    return keys
