"""Axolotl's keys: which there are in the pinned version, which are on their way out, and what to write."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from presets.findings import Finding
from presets.spec import RunSpec


@dataclass(frozen=True)
class Deprecated:
    """``instead`` is what to write; ``refused`` keys stop Axolotl, the others are left out."""

    instead: str
    refused: bool = False


#: From the schema of Axolotl 0.19: fields marked as deprecated, and those that only raise.
DEPRECATED = {
    "flash_attention": Deprecated("attn_implementation: flash_attention_2"),
    "sdp_attention": Deprecated("attn_implementation: sdpa"),
    "xformers_attention": Deprecated("attn_implementation: xformers"),
    "flex_attention": Deprecated("attn_implementation: flex_attention"),
    "eager_attention": Deprecated("attn_implementation: eager"),
    "sage_attention": Deprecated("attn_implementation: sage"),
    "s2_attention": Deprecated("nothing: it was removed"),
    "flash_attn_rms_norm": Deprecated("nothing: it was removed"),
    "eval_table_size": Deprecated("generate_samples: true"),
    "eval_max_new_tokens": Deprecated("generation_max_new_tokens"),
    "evaluation_strategy": Deprecated("eval_strategy"),
    "noisy_embedding_alpha": Deprecated("neftune_noise_alpha"),
    "dataset_processes": Deprecated("dataset_num_proc"),
    "gc_steps": Deprecated("torch_empty_cache_steps"),
    "max_packed_sequence_len": Deprecated("sample_packing: true and sequence_len", refused=True),
    "rope_scaling": Deprecated("rope_scaling under overrides_of_model_config", refused=True),
    "fsdp": Deprecated("deepspeed: FILE", refused=True),
}

#: LLaMA-Factory's names, which shape the text that Axolotl gets too.
OURS = frozenset({"enable_thinking", "default_system"})


def check_axolotl(spec: RunSpec) -> Iterator[Finding]:
    """Yield what is wrong or old among the raw keys of a run with Axolotl."""
    for key, value in spec.trainer_args.items():
        where = f"trainer_args.{key}"
        old = DEPRECATED.get(key)
        if old is not None and value not in (False, ""):
            if old.refused:
                yield Finding("error", where, f"{key} is refused by Axolotl.", f"Write {old.instead}.")
            else:
                reason = f"{key} is deprecated in Axolotl and left out."
                yield Finding("warning", where, reason, f"Write {old.instead}.")
        elif old is None and key not in known_keys() | OURS:
            near = difflib.get_close_matches(key, known_keys(), n=3)
            fix = f"Nearest: {', '.join(near)}." if near else "Take it out."
            yield Finding("error", where, f"Axolotl has no key {key}.", fix)


@cache
def known_keys() -> frozenset[str]:
    """Return the keys of the pinned version's schema."""
    text = (resources.files("presets") / "trainers" / "axolotl-keys.txt").read_text(encoding="utf-8")
    return frozenset(text.split())
