"""Peak tensor memory of one training step, counted on fake tensors: no GPU, no weights.

Run it in the trainer's environment, with the shapes of presets/models.yaml:

    .../bin/python tests/bench/sizing/measure_activations.py > tests/bench/sizing/activations.jsonl

Every storage that PyTorch allocates is counted while it lives (torch's own MemTracker does the same, but
refuses frozen parameters); what only a GPU has (context, fragmentation, workspace of kernels) is not. The
models are cut to a few layers: the share of a layer is the difference.
"""

from __future__ import annotations

import json
import logging
import weakref
from pathlib import Path
from typing import Any

import torch
import yaml
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM

LAYERS = (2, 6)
MODELS = {
    "meta-llama/Llama-3.1-8B-Instruct": "llama",
    "Qwen/Qwen3-8B": "qwen3",
    "google/gemma-3-1b-it": "gemma3_text",
    "microsoft/phi-4": "phi3",
    "microsoft/phi-2": "phi",
    "EleutherAI/pythia-1.4b-deduped": "gpt_neox",
    "HuggingFaceTB/SmolLM3-3B": "smollm3",
}


def main() -> None:
    """Print one JSON object a case."""
    logging.disable(logging.WARNING)
    shapes = yaml.safe_load(Path("presets/models.yaml").read_text(encoding="utf-8"))
    for name, kind in MODELS.items():
        for checkpointing in (True, False):
            for lora in (False, True):
                for tokens in (1024, 4096):
                    how = {"checkpointing": checkpointing, "lora": lora}
                    peaks = [peak(shapes[name], kind, layers, tokens, **how) for layers in LAYERS]
                    case = {"model": name, "tokens": tokens, **how, "layers": LAYERS}
                    print(json.dumps({**case, **merge(peaks)}), flush=True)


def merge(peaks: list[dict[str, int]]) -> dict[str, list[int]]:
    """Put the figures of the two depths side by side."""
    return {key: [peak[key] for peak in peaks] for key in peaks[0]}


def peak(
    shape: dict[str, Any], kind: str, layers: int, tokens: int, *, checkpointing: bool, lora: bool
) -> dict[str, int]:
    """Return bytes: peak of a forward and backward pass, and of parameters and their gradients alone."""
    config = AutoConfig.for_model(
        kind,
        num_hidden_layers=layers,
        hidden_size=shape["hidden"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        head_dim=shape["head_dim"],
        intermediate_size=shape["ffn"],
        vocab_size=shape["vocab"],
        tie_word_embeddings=shape["tied"],
        pad_token_id=0,
        use_cache=False,
        **({"layer_types": ["full_attention"] * layers} if kind == "gemma3_text" else {}),
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
        model.train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if lora:
            add_lora(model)
        ids = torch.randint(0, 100, (1, tokens))
        counter = LiveBytes()
        with counter, torch.autocast("cpu", torch.bfloat16, enabled=lora):
            model(input_ids=ids, labels=ids).loss.backward()
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    gradients = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return {"peak": weights + counter.peak, "weights": weights, "gradients": gradients}


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations create, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it allocated."""
        result = func(*args, **(kwargs or {}))
        known = {
            leaf.untyped_storage()._cdata
            for leaf in tree_leaves((args, kwargs))
            if isinstance(leaf, torch.Tensor)
        }
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage(), known)
        return result

    def _count(self, storage: Any, known: set[int]) -> None:
        if storage._cdata in known or storage._cdata in self._seen:
            return
        size, key = storage.nbytes(), storage._cdata

        def free(_ref: object) -> None:
            del self._seen[key]
            self.live -= size

        self._seen[key] = weakref.ref(storage, free)
        self.live += size
        self.peak = max(self.peak, self.live)


class LoraLinear(torch.nn.Module):
    """PEFT's LoRA layer as it runs under autocast: the input is taken to 32 bits, the product back to 16."""

    def __init__(self, base: torch.nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down = torch.nn.Linear(base.in_features, 8, bias=False)
        self.up = torch.nn.Linear(8, base.out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the low-rank product to the frozen layer's."""
        return self.base(x) + self.up(self.down(x.float()))


def add_lora(model: torch.nn.Module) -> None:
    """Freeze the model and train a rank of 8, in 32 bits, on every linear layer of the blocks."""
    model.requires_grad_(False)
    places = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "layers" in name
    ]
    for name, module in places:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, LoraLinear(module))
    model.get_input_embeddings().register_forward_hook(lambda _m, _i, out: out.requires_grad_(True))


if __name__ == "__main__":
    main()
