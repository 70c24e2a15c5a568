"""Rows packed behind the trainer's mask don't see each other: what the presets' default rests on.

Without FlashAttention-2 LLaMA-Factory gives the model a mask of four dimensions; a model that ignored it
would train on rows mixed up, without an error. Tiny models with random weights, on the CPU.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from presets import catalog
from presets.models import known_models
from presets.spec import resolve

pytestmark = [pytest.mark.trainer, pytest.mark.timeout(300)]

COMPARE = """
import json, sys
import torch
from llamafactory.data.collator import prepare_4d_attention_mask
from transformers import AutoConfig, AutoModelForCausalLM

torch.manual_seed(0)
sizes = dict(
    hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
    intermediate_size=128, vocab_size=128, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
moe = dict(num_experts=4, num_local_experts=4, num_experts_per_tok=2, moe_intermediate_size=64)
results = {}
for kind in sys.argv[1:]:
    extra = moe if kind in ("mixtral", "qwen3_moe") else {}
    config = AutoConfig.for_model(kind, **sizes, **extra)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    first, second = torch.randint(3, 128, (1, 7)), torch.randint(3, 128, (1, 9))
    packed = torch.cat([first, second], 1)
    mask = prepare_4d_attention_mask(torch.tensor([[1] * 7 + [2] * 9]), torch.float32)
    positions = torch.arange(16)[None]
    with torch.no_grad():
        together = model(input_ids=packed, attention_mask=mask, position_ids=positions).logits[:, 7:]
        alone = model(input_ids=second, position_ids=positions[:, 7:]).logits
        mixed = model(input_ids=packed, position_ids=positions).logits[:, 7:]
    results[kind] = [float((together - alone).abs().max()), float((mixed - alone).abs().max())]
print(json.dumps(results))
"""


def packed_kinds() -> list[str]:
    specs = [resolve(name) for name in catalog.names()]
    return sorted({known_models()[spec.model].kind for spec in specs if spec.neat_packing})


def test_packed_rows_do_not_see_each_other_in_any_model_that_a_preset_packs(trainer_python: Path) -> None:
    kinds = packed_kinds()
    assert kinds
    done = subprocess.run(
        [str(trainer_python), "-c", COMPARE, *kinds],
        env={**os.environ, "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads(done.stdout.splitlines()[-1])
    for kind in kinds:
        behind_the_mask, without = results[kind]
        assert behind_the_mask < 1e-4, kind
        # The comparison is one that could fail.
        assert without > 1e-3, kind
