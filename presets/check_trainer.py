"""What the trainer would refuse, or do otherwise than meant: raw keys, template, kernels, unsound pairs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import msgspec

from presets.axolotl_keys import check_axolotl
from presets.findings import Finding
from presets.llamafactory import train_arguments
from presets.models import Architecture, architecture, known_models
from presets.own_yaml import SAME_KEYS
from presets.spec import RunSpec
from presets.trainer_facts import llamafactory_facts, pinned_packages

#: LLaMA-Factory's names, and those of its past and of other trainers, for what finetui or it calls otherwise.
_RENAMED = {
    "evaluation_strategy": "--set eval_share=0.05",
    "load_in_4bit": "--set method=qlora --set quantization_bit=4",
    "load_in_8bit": "--set method=qlora --set quantization_bit=8",
    "sample_packing": "--set packing=true --set neat_packing=true",
    "lora_r": "--set lora_rank=16",
    "lora_target_modules": "--set lora_target=q_proj,v_proj",
    "lora_target_linear": "--set lora_target=all",
    "flash_attention": "--set flash_attn=auto",
    "num_layer_trainable": "trainer_args.freeze_trainable_layers",
    "quantization": "--set method=qlora --set quantization_bit=4",
    "use_flash_attn": "--set flash_attn=fa2",
}
#: Packages that a raw key needs; LLaMA-Factory stops at the start without them.
_NEEDS = {
    "use_unsloth": "unsloth",
    "use_unsloth_gc": "unsloth",
    "use_galore": "galore_torch",
    "use_apollo": "apollo-torch",
    "use_badam": "badam",
    "use_adam_mini": "adam-mini",
    "use_swanlab": "swanlab",
    "fp8": "torchao",
}
#: Model types that LLaMA-Factory 0.9.5 has Liger kernels for (model/model_utils/liger_kernel.py).
_LIGER_KINDS = frozenset(
    {
        "gemma", "gemma2", "gemma3", "gemma3_text", "glm", "glm4", "glm4v", "gpt_oss", "granite", "llama",
        "llava", "mistral", "mixtral", "mllama", "olmo2", "paligemma", "phi3", "qwen2", "qwen2_5_vl",
        "qwen2_vl", "qwen3", "qwen3_5", "qwen3_moe", "qwen3_next",
    }
)  # fmt: skip
_GATED = ("meta-llama/", "google/gemma")


def check_trainer(spec: RunSpec) -> list[Finding]:
    """Return what is wrong between the spec and the trainer's pinned version; needs no data, no machine."""
    shape = architecture(spec)
    findings = [*_experts(spec, shape), *_gated(spec), *_rate(spec)]
    if spec.trainer == "llamafactory":
        # Another trainer has other keys, templates and kernels.
        return [*findings, *_raw_keys(spec), *_raw_pairs(spec), *_template(spec), *_kernels(spec, shape)]
    return [*findings, *check_axolotl(spec)]


def _raw_keys(spec: RunSpec) -> Iterator[Finding]:
    facts = llamafactory_facts()
    ours = train_arguments(msgspec.structs.replace(spec, trainer_args={}))
    for key, value in spec.trainer_args.items():
        where = f"trainer_args.{key}"
        kind = facts.arguments.get(key)
        if kind is None:
            yield _unknown(key, where)
        elif isinstance(kind, list) and value is not None and value not in kind:
            choices = ", ".join(str(choice) for choice in kind)
            yield Finding(
                "error", where, f"{key} must be one of {choices}, not {value!r}.", "Write one of them."
            )
        elif (wrong := _wrong_type(kind, value)) is not None:
            yield Finding("error", where, f"{key} must be {wrong}, not {value!r}.", f"Give {key} {wrong}.")
        elif key in _NEEDS and value and _NEEDS[key] not in pinned_packages(spec.trainer):
            reason = f"{key} needs the package {_NEEDS[key]}, which is not in the trainer's environment."
            yield Finding("error", where, reason, f"Take {key} out.")
        elif key == "trust_remote_code" and value:
            reason = f"Code from the repository of {spec.model} would run on the machine that trains."
            yield Finding("warning", where, reason, "Take it out; LLaMA-Factory's own models need none.")
        elif key in SAME_KEYS and ours.get(key, value) != value:
            reason = f"{key} is {value!r} there and {ours[key]!r} by finetui's own key; the raw one wins."
            yield Finding("note", where, reason, "Use finetui's own key, so that estimates know of it.")


def _unknown(key: str, where: str) -> Finding:
    facts = llamafactory_facts()
    reason = f"LLaMA-Factory {facts.llamafactory} has no argument {key}, and stops at unknown ones."
    if key in _RENAMED:
        return Finding("error", where, reason, f"Use {_RENAMED[key]}.")
    near = difflib.get_close_matches(key, facts.arguments, n=3, cutoff=0.6)
    return Finding("error", where, reason, f"Nearest: {', '.join(near)}." if near else "Take it out.")


def _wrong_type(kind: object, value: object) -> str | None:
    """Say what a value should be, None where it is well or can't be judged; null is left to the trainer."""
    if value is None or not isinstance(kind, str):
        return None
    if kind == "bool" and not isinstance(value, bool):
        return "true or false"
    if kind == "int" and (isinstance(value, bool) or not isinstance(value, int)):
        return "a whole number"
    if kind == "float" and (isinstance(value, bool) or not isinstance(value, int | float)):
        return "a number"
    return None


def _raw_pairs(spec: RunSpec) -> Iterator[Finding]:
    """Pairs that LLaMA-Factory's parser refuses, or that are known to fail (its issues, DeepSpeed's)."""
    raw, stage = spec.trainer_args, spec.zero_stage
    zero3 = stage == 3
    rules: list[tuple[str, bool, str, str]] = [
        ("pure_bf16", zero3, "pure_bf16 does not work with ZeRO-3.", "Use --set zero_stage=2."),
        ("use_unsloth", zero3, "Unsloth does not work with ZeRO-3.", "Use --set zero_stage=null."),
        (
            "use_galore",
            stage is not None,
            "GaLore does not work with DeepSpeed.",
            "Use --set zero_stage=null.",
        ),
        (
            "use_apollo",
            stage is not None,
            "APOLLO does not work with DeepSpeed.",
            "Use --set zero_stage=null.",
        ),
        (
            "use_badam",
            spec.gpus > 1 and not zero3,
            "BAdam on several GPUs needs ZeRO-3.",
            "Use zero_stage=3.",
        ),
        ("pissa_init", zero3, "PiSSA does not work with ZeRO-3.", "Use --set zero_stage=2."),
        (
            "predict_with_generate",
            zero3,
            "Generating in evaluation does not work with ZeRO-3.",
            "Take it out.",
        ),
        (
            "fp8",
            spec.quantization_bit is not None,
            "fp8 and a quantised base exclude each other.",
            "Take it out.",
        ),
        ("streaming", spec.max_steps is None, "A streamed dataset has no length.", "Add --set max_steps=N."),
        (
            "pure_bf16",
            spec.method == "qlora",
            "pure_bf16 makes adapters too coarse to learn.",
            "Take it out.",
        ),
    ]
    for key, broken, reason, fix in rules:
        if raw.get(key) and broken:
            yield Finding("error", f"trainer_args.{key}", reason, fix)


def _template(spec: RunSpec) -> Iterator[Finding]:
    facts = llamafactory_facts()
    if spec.template not in facts.templates:
        near = difflib.get_close_matches(spec.template, facts.templates, n=3, cutoff=0.5)
        reason = f"LLaMA-Factory {facts.llamafactory} has no template {spec.template!r}."
        fix = (
            f"Nearest: {', '.join(near)}." if near else "Use default for a model without a format of its own."
        )
        yield Finding("error", "template", reason, fix)
        return
    registered = facts.model_templates.get(spec.model)
    if registered is not None and registered != spec.template:
        reason = f"{spec.model} was trained with the template {registered}, and the run uses {spec.template}."
        yield Finding("warning", "template", reason, f"Use --set template={registered}.")
    # Those of models.yaml have their templates from docs/PRESETS.md.
    if spec.model not in facts.model_templates and spec.model not in known_models() and not spec.tiny_model:
        reason = f"LLaMA-Factory does not know {spec.model}: whether {spec.template} is its format is open."
        yield Finding("note", "template", reason, "Compare with chat_template in its tokenizer_config.json.")


def _kernels(spec: RunSpec, shape: Architecture | None) -> Iterator[Finding]:
    if spec.flash_attn == "fa2" and "flash-attn" not in pinned_packages(spec.trainer):
        reason = "flash-attn is not in the trainer's environment: it would fall back to SDPA without a word."
        yield Finding("warning", "flash_attn", reason, "Use --set flash_attn=auto, which is SDPA here.")
    if shape is not None and spec.liger and shape.kind not in _LIGER_KINDS:
        reason = f"LLaMA-Factory has no Liger kernels for {spec.model} ({shape.kind}); nothing is gained."
        yield Finding("warning", "liger", reason, "Use --set liger=false, so that the estimate is right.")
    if spec.liger and spec.stage == "dpo":
        reason = "DPO needs all logits, so Liger's fused loss is off and saves no memory there."
        yield Finding("note", "liger", reason, "Expect the memory of a run without Liger.")
    if shape is not None and shape.window and spec.neat_packing and spec.cutoff_len > shape.window:
        reason = (
            f"The packing mask takes the place of the model's window of {shape.window} tokens, so its local "
            "layers would see more in training than in use."
        )
        yield Finding("warning", "neat_packing", reason, "Use --set packing=false --set neat_packing=false.")


def _experts(spec: RunSpec, shape: Architecture | None) -> Iterator[Finding]:
    if shape is None or shape.experts == 1:
        return
    if spec.method == "qlora":
        share = shape.expert_parameters / shape.parameters
        reason = (
            f"With transformers {llamafactory_facts().transformers} the experts are not linear layers: "
            f"{share:.0%} of the weights would stay in 16 bits."
        )
        fix = "Use --set method=lora --set quantization_bit=null, on cards that hold the 16-bit weights."
        yield Finding("error", "quantization_bit", reason, fix)
    if spec.method in ("lora", "qlora") and spec.lora_target == "all":
        reason = "The experts are not linear layers to the trainer: adapters sit on attention only."
        yield Finding("note", "lora_target", reason, "Use --set method=full or freeze to train experts.")


def _gated(spec: RunSpec) -> Iterator[Finding]:
    if spec.model.startswith(_GATED):
        reason = f"{spec.model} is gated: its licence has to be accepted on the Hub, and a token given."
        yield Finding("note", "model", reason, f"See https://huggingface.co/{spec.model}; set HF_TOKEN.")


def _rate(spec: RunSpec) -> Iterator[Finding]:
    """Say when a learning rate is far above what the method learns with; tiny models take more."""
    most = 1e-4 if spec.method in ("full", "freeze") else 2e-3
    if spec.learning_rate > most and spec.tiny_model is None:
        reason = f"learning_rate {spec.learning_rate:g} is far above what {spec.method} learns with."
        yield Finding("warning", "learning_rate", reason, f"Use at most {most:g}, usually a tenth of that.")
