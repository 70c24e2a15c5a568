"""Values that can't work together, each with the fix; from the trainers' own checks and issue threads."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from presets.errors import InvalidInput

if TYPE_CHECKING:
    from presets.spec import RunSpec

_POSITIVE = (
    "gpus", "cutoff_len", "micro_batch", "gradient_accumulation", "epochs", "max_steps", "learning_rate",
    "max_grad_norm", "lora_rank", "lora_alpha", "save_steps", "save_limit", "logging_steps", "eval_steps",
    "pref_beta",
)  # fmt: skip
_NOT_NEGATIVE = ("warmup", "weight_decay", "lora_dropout", "eval_share", "seed")
#: More is a slip of the keyboard; numpy takes no larger seed.
_AT_MOST = {
    "gpus": 1024,
    "cutoff_len": 10_000_000,
    "micro_batch": 65_536,
    "gradient_accumulation": 65_536,
    "lora_rank": 65_536,
    "seed": 2**32 - 1,
}
_SHARES = ("lora_dropout", "eval_share")

#: owner/name as the Hub spells it; a local path would be a path of the wrong machine.
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")

#: Rendered from the spec or set by the agent; in trainer_args they would silently part from what is shown.
_OURS = frozenset({"dataset", "dataset_dir", "output_dir", "model_name_or_path", "deepspeed", "stage"})


def check_together(spec: RunSpec, where: Mapping[str, str]) -> None:
    """Raise InvalidInput at the first value that can't work, naming where it was set."""
    _check_numbers(spec, where)
    _check_names(spec, where)
    for broken, key, reason, remedy in _combinations(spec):
        if broken:
            raise InvalidInput(f"{where.get(key, key)}: {reason}", remedy=remedy)


def _check_numbers(spec: RunSpec, where: Mapping[str, str]) -> None:
    for key in (*_POSITIVE, *_NOT_NEGATIVE):
        value = getattr(spec, key)
        if value is None:
            continue
        least = "above 0" if key in _POSITIVE else "0 or more"
        bad = value <= 0 if key in _POSITIVE else value < 0
        if bad or not math.isfinite(value):
            raise InvalidInput(
                f"{where.get(key, key)}: {key} must be {least}, not {value}.",
                remedy=f"Give {key} a number {least}.",
            )
    for key, most in _AT_MOST.items():
        if getattr(spec, key) > most:
            raise InvalidInput(
                f"{where.get(key, key)}: {key} can be {most} at most, not {getattr(spec, key)}.",
                remedy=f"Give {key} a number up to {most}.",
            )
    for key in _SHARES:
        if getattr(spec, key) >= 1:
            raise InvalidInput(
                f"{where.get(key, key)}: {key} is a share and must be below 1, not {getattr(spec, key)}.",
                remedy="Write a tenth as 0.1",
            )


def _check_names(spec: RunSpec, where: Mapping[str, str]) -> None:
    if not _MODEL_ID.fullmatch(spec.model) or ".." in spec.model:
        raise InvalidInput(
            f"{where.get('model', 'model')}: {spec.model!r} is not a model id of the Hugging Face Hub.",
            cause="A path would mean a place on the machine that trains, not on this one.",
            remedy="Write owner/name, for example mistralai/Mistral-7B-Instruct-v0.1",
        )
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", spec.template):
        raise InvalidInput(
            f"{where.get('template', 'template')}: {spec.template!r} is not the name of a template.",
            remedy="Use the trainer's name for it, for example mistral, llama3, qwen3, chatml, default.",
        )
    ours = sorted(_OURS & spec.trainer_args.keys())
    if ours:
        raise InvalidInput(
            f"{where.get('trainer_args', 'trainer_args')}: {ours[0]} is written by finetui itself.",
            remedy=f"Take {ours[0]} out of trainer_args; finetui's own keys are model, zero_stage, stage.",
        )


def _combinations(spec: RunSpec) -> list[tuple[bool, str, str, str]]:
    """(broken, the key at fault, reason, fix) of every rule."""
    zero3 = spec.zero_stage == 3
    adapter = spec.method in ("lora", "qlora")
    return [
        (
            spec.method == "qlora" and spec.quantization_bit is None,
            "method",
            "QLoRA needs to know the bits of the base model.",
            "Add --set quantization_bit=4 (or 8).",
        ),
        (
            spec.method != "qlora" and spec.quantization_bit is not None,
            "quantization_bit",
            f"A quantised base can only be trained with QLoRA, and the method is {spec.method}.",
            "Use --set method=qlora, or --set quantization_bit=null.",
        ),
        (  # zero.Init can't shard bitsandbytes weights: LlamaFactory#5595, #2920; bitsandbytes#1249
            spec.method == "qlora" and zero3,
            "zero_stage",
            "QLoRA does not work with ZeRO-3: quantised weights can't be sharded.",
            "Use --set zero_stage=2 (or null), or --set method=lora --set quantization_bit=null.",
        ),
        (
            spec.offload_optimizer and not spec.zero_stage,
            "offload_optimizer",
            "Optimizer offload needs ZeRO-1, 2 or 3.",
            "Use --set zero_stage=2, or --set offload_optimizer=false.",
        ),
        (
            spec.offload_param and not zero3,
            "offload_param",
            "Parameter offload needs ZeRO-3.",
            "Use --set zero_stage=3, or --set offload_param=false.",
        ),
        (  # its flash-attention path asserts a batch of one (LLaMA-Factory 0.9.5)
            spec.neat_packing and spec.flash_attn == "fa2" and spec.micro_batch != 1,
            "micro_batch",
            "Neat packing with FlashAttention-2 works with a micro-batch of 1 only.",
            "Use --set micro_batch=1 and raise gradient_accumulation or cutoff_len.",
        ),
        (
            spec.neat_packing and not spec.packing,
            "neat_packing",
            "Neat packing is a kind of packing, and packing is off.",
            "Add --set packing=true, or --set neat_packing=false.",
        ),
        (
            spec.neat_packing and spec.stage != "sft",
            "neat_packing",
            "Neat packing is for supervised fine-tuning (stage sft).",
            "Use --set neat_packing=false.",
        ),
        (
            spec.packing and spec.stage == "dpo",
            "packing",
            "Pairs of answers can't be packed (stage dpo).",
            "Use --set packing=false.",
        ),
        (
            isinstance(spec.warmup, float) and spec.warmup >= 1,
            "warmup",
            f"Warm-up as a number with a point is a share of all steps, and {spec.warmup} is not below 1.",
            f"Write --set warmup={int(spec.warmup)} for steps, or a share such as 0.1.",
        ),
        (
            adapter and not spec.lora_target.strip(", "),
            "lora_target",
            "LoRA has no layers to train.",
            "Use --set lora_target=all.",
        ),
        (
            spec.tiny_model is not None and adapter is False and spec.method == "freeze",
            "method",
            "Freezing layers of a model with random weights teaches it nothing.",
            "Use --set method=full.",
        ),
        *_keep_best_rules(spec),
        *_tiny_model_rules(spec),
    ]


def _keep_best_rules(spec: RunSpec) -> list[tuple[bool, str, str, str]]:
    return [
        (
            spec.keep_best and not spec.eval_share,
            "keep_best",
            "The best checkpoint is the one with the lowest eval_loss, and nothing is evaluated.",
            "Add --set eval_share=0.05, or use --set keep_best=false.",
        ),
        (
            spec.keep_best and spec.eval_steps % spec.save_steps != 0,
            "eval_steps",
            f"An evaluation every {spec.eval_steps} steps may find the best where nothing is saved: "
            f"saves are every {spec.save_steps} steps.",
            f"Use --set eval_steps={spec.save_steps}.",
        ),
        (  # transformers then removes the newest one at the end, so that nothing could be resumed
            spec.keep_best and spec.save_limit == 1,
            "save_limit",
            "Keeping the best and the newest needs room for two.",
            "Use --set save_limit=2.",
        ),
    ]


def _tiny_model_rules(spec: RunSpec) -> list[tuple[bool, str, str, str]]:
    tiny = spec.tiny_model
    if tiny is None:
        return []
    sizes = {key: getattr(tiny, key) for key in tiny.__struct_fields__}
    return [
        (
            min(sizes.values()) < 1,
            "tiny_model",
            f"Every size must be above 0, and they are {sizes}.",
            "Give sizes of 1 or more.",
        ),
        (
            tiny.heads > 0 and tiny.hidden_size % (2 * tiny.heads) != 0,
            "tiny_model",
            f"hidden_size {tiny.hidden_size} can't be split over {tiny.heads} heads of an even size.",
            "Make hidden_size a multiple of 2 x heads.",
        ),
        (  # 256 bytes and the special tokens of the template
            0 < tiny.vocab_size < 300,
            "tiny_model",
            f"A vocabulary of {tiny.vocab_size} has no room for the 256 bytes and the special tokens.",
            "Give vocab_size 300 or more.",
        ),
    ]
