"""How much memory a run needs on each GPU and on the host, part by part, before a GPU is paid for.

The states are those of the ZeRO paper and of DeepSpeed's own estimators; the activations are counts of
tensors of real models (docs/SIZING.md). Each part has its own uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass

from presets.gpus import GIB
from presets.models import Architecture
from presets.spec import RunSpec
from presets.storage import checkpoint_bytes, disk_parts, environment_bytes

__all__ = ["GIB", "Estimate", "Part", "checkpoint_bytes", "environment_bytes", "estimate", "states_bytes"]

#: Allocator slack over the sum of the tensors (fitted to published tables, docs/SIZING.md).
_FRAGMENTATION = 0.06
_CUDA_CONTEXT_BYTES = int(0.8 * GIB)
_NCCL_BYTES = int(0.6 * GIB)
#: DeepSpeed's estimators add half for the buffers that offloading pins.
_OFFLOAD_BUFFERS = 1.5
#: Elements of presets/deepspeed/zero1*.json and zero2*.json buckets; two are alive at once.
_BUCKET_ELEMENTS = 200_000_000
_MAX_LIVE_ELEMENTS = 1_000_000_000
#: 32-bit logits, their log-softmax and its gradient, per token and vocabulary entry. Counted on five models:
#: 12.0 to 12.5; the 16-bit logits are freed before the backward pass.
_LOGIT_BYTES = 12
#: Liger's fused loss works in chunks of about as many entries as the hidden states have.
_FUSED_LOSS_BYTES = 8
#: bits of nf4 with double quantisation: 4 + 8/64 + 32/(64*256), and bitsandbytes' bookkeeping
_NF4_BYTES = 0.516
#: Elements that one token leaves in one layer for the backward pass, as multiples of (hidden, MLP width),
#: attention's own aside: counted on the pinned transformers (docs/SIZING.md).
_LAYER_ELEMENTS = {
    "llama": (10.0, 4.0),
    "mistral": (10.0, 4.0),
    "qwen3": (13.0, 4.0),
    "gemma3_text": (19.0, 4.0),
    "gemma3": (19.0, 4.0),
    "phi3": (9.0, 4.0),
    "phi": (5.5, 5.0),
    "gpt_neox": (5.5, 2.0),
    "smollm3": (11.5, 4.0),
}
_LAYER_ELEMENTS_OF_OTHERS = (12.0, 4.0)
#: Python, torch and the dataset in each rank.
_RANK_HOST_BYTES = 2 * GIB

#: How far off a part may be, as a share of it.
_UNCERTAINTY = {
    "weights": 0.02,
    "reference model": 0.02,
    "gradients": 0.05,
    "optimizer": 0.05,
    "communication buffers": 0.5,
    "activations": 0.2,
    "logits": 0.1,
    "fragmentation": 1.0,
    "CUDA context": 0.3,
    "NCCL": 0.5,
}


@dataclass(frozen=True)
class Part:
    """Bytes of one use of memory, and how far off they may be as a share of them."""

    name: str
    bytes: int
    uncertainty: float


@dataclass(frozen=True)
class Estimate:
    """Bytes on each GPU with their parts, on the host for all ranks, and on its disk."""

    per_gpu_bytes: int
    parts: tuple[tuple[str, int], ...]
    host_bytes: int
    disk_bytes: int
    disk_parts: tuple[tuple[str, int], ...] = ()

    @property
    def detailed(self) -> tuple[Part, ...]:
        """The parts with their uncertainties."""
        return tuple(Part(name, size, _UNCERTAINTY[name]) for name, size in self.parts)

    @property
    def low_bytes(self) -> int:
        """Bytes on each GPU when every part is at its least."""
        return int(sum(part.bytes * (1 - part.uncertainty) for part in self.detailed))

    @property
    def high_bytes(self) -> int:
        """Bytes on each GPU when every part is at its most."""
        return int(sum(part.bytes * (1 + part.uncertainty) for part in self.detailed))


@dataclass(frozen=True)
class _States:
    """Bytes on one GPU; ``offloaded`` is for all ranks, in host memory."""

    weights: float
    gradients: float
    optimizer: float
    buffers: float = 0.0
    offloaded: float = 0.0


def estimate(spec: RunSpec, arch: Architecture, gpus: int) -> Estimate:
    """Return what ``spec`` needs on ``gpus`` GPUs (ranks) of one machine."""
    states = _states(spec, arch, gpus)
    # A pair is two sequences: DPO computes the chosen and the rejected answer in one batch.
    tokens = spec.micro_batch * spec.cutoff_len * (2 if spec.stage == "dpo" else 1)
    sizes = {
        "weights": states.weights,
        "reference model": _reference_model(spec, arch, gpus),
        "gradients": states.gradients,
        "optimizer": states.optimizer,
        "communication buffers": states.buffers,
        "activations": _activations(spec, arch, tokens),
        "logits": _logits(spec, arch, tokens),
    }
    sizes["fragmentation"] = _FRAGMENTATION * sum(sizes.values())
    sizes["CUDA context"] = _CUDA_CONTEXT_BYTES
    sizes["NCCL"] = _NCCL_BYTES if gpus > 1 else 0
    parts = tuple((name, int(size)) for name, size in sizes.items() if size)
    disk = disk_parts(spec, arch, trainable_parameters(spec, arch))
    return Estimate(
        per_gpu_bytes=sum(size for _, size in parts),
        parts=parts,
        host_bytes=int(max(_loading(spec, arch, gpus), states.offloaded) + gpus * _RANK_HOST_BYTES),
        disk_bytes=sum(size for _, size in disk),
        disk_parts=disk,
    )


def states_bytes(spec: RunSpec, arch: Architecture, gpus: int) -> float:
    """Return the bytes of weights, gradients and optimizer on one GPU."""
    states = _states(spec, arch, gpus)
    return states.weights + states.gradients + states.optimizer


def trainable_parameters(spec: RunSpec, arch: Architecture) -> int:
    """Return how many parameters are trained; ``freeze`` trains the last two layers."""
    if spec.method in ("lora", "qlora"):
        return arch.lora_parameters(spec.lora_rank)
    if spec.method == "freeze":
        return arch.linear_parameters * min(2, arch.layers) // arch.layers
    return arch.parameters - arch.other


def weight_bytes(spec: RunSpec, arch: Architecture) -> int:
    """Return the bytes of the base model's weights on one GPU, before any sharding."""
    if spec.quantization_bit is not None:
        each = _NF4_BYTES if spec.quantization_bit == 4 else 1.0
        quantised = arch.quantised_parameters
        return int(each * quantised) + 2 * (arch.parameters - quantised)
    return (4 if spec.precision == "fp32" else 2) * arch.parameters


def _states(spec: RunSpec, arch: Architecture, gpus: int) -> _States:
    """Bytes per trained parameter with AMP: 2 weight, 2 + 4 gradient (16 and 32 bits), 12 master and Adam."""
    trained, base = trainable_parameters(spec, arch), weight_bytes(spec, arch)
    stage = spec.zero_stage or 0
    full_precision = spec.precision == "fp32"
    # Without AMP the weights are their own master.
    optimizer = (8.0 if full_precision else 12.0) * trained
    gradients = 4.0 * trained
    if stage == 1 and not full_precision:
        gradients = 2.0 * trained + 4.0 * trained / gpus
    if stage == 2:
        gradients = (4.0 if full_precision else 6.0) * trained / gpus
    if stage == 3:
        gradients = 4.0 * trained / gpus
    if stage:
        optimizer /= gpus
    weights, offloaded = float(base), 0.0
    if spec.offload_optimizer:
        offloaded += 16.0 * trained * _OFFLOAD_BUFFERS
        optimizer = gradients = 0.0
    if stage == 3:
        weights /= gpus
    if spec.offload_param:
        offloaded += base * _OFFLOAD_BUFFERS
        weights = 0.0
    return _States(weights, gradients, optimizer, _buffers(arch, trained, stage, gpus), offloaded)


def _reference_model(spec: RunSpec, arch: Architecture, gpus: int) -> float:
    """DPO of whole weights keeps a frozen copy; with adapters the model without them is the reference."""
    if spec.stage != "dpo" or spec.method in ("lora", "qlora") or spec.pref_loss in ("orpo", "simpo"):
        return 0.0
    return 2.0 * arch.parameters / (gpus if spec.zero_stage == 3 else 1)


def _buffers(arch: Architecture, trained: int, stage: int, gpus: int) -> float:
    if stage == 3:
        # The largest layer is gathered whole on every GPU, and gathered layers stay up to the live limit.
        return min(2 * _MAX_LIVE_ELEMENTS, 2 * arch.parameters) + 4 * arch.vocab * arch.hidden
    if stage:
        return min(2 * 2 * _BUCKET_ELEMENTS, 4 * trained)
    return 4 * trained if gpus > 1 else 0


def _activations(spec: RunSpec, arch: Architecture, tokens: int) -> float:
    """One saved input per layer with checkpointing, else everything that the backward pass reads."""
    layer = 2.0 * tokens * _layer_elements(arch)
    sequences = tokens / spec.cutoff_len
    scores = arch.heads * spec.cutoff_len**2 * sequences
    mask = 0.0
    if spec.flash_attn == "disabled":
        # Scores in 16 bits, softmax in 32, dropout and their gradients.
        layer += 7.4 * scores
    if spec.neat_packing and spec.flash_attn != "fa2":
        mask = 2.0 * spec.cutoff_len**2 * sequences
    if not spec.gradient_checkpointing:
        return arch.layers * layer + mask
    stored = 2.0 * arch.layers * arch.hidden * tokens
    # The logits and the layer being recomputed are not alive together: only the larger counts.
    return stored + mask + max(0.0, layer - _logits(spec, arch, tokens))


def _layer_elements(arch: Architecture) -> float:
    """Elements that one token leaves in one layer: norms and residuals, attention, MLP."""
    hidden, mlp = _LAYER_ELEMENTS.get(arch.kind, _LAYER_ELEMENTS_OF_OTHERS)
    attention = 3.5 * arch.heads * arch.head_dim + 3 * arch.kv_heads * arch.head_dim
    routed = arch.per_token * arch.hidden if arch.experts > 1 else 0
    return hidden * arch.hidden + attention + mlp * arch.ffn * arch.per_token + routed


def _logits(spec: RunSpec, arch: Architecture, tokens: int) -> float:
    if not spec.liger or spec.stage == "dpo":
        return float(_LOGIT_BYTES * tokens * arch.vocab)
    head_gradient = 2 * arch.vocab * arch.hidden if spec.method == "full" else 0
    return float(_FUSED_LOSS_BYTES * tokens * arch.hidden + head_gradient)


def _loading(spec: RunSpec, arch: Architecture, gpus: int) -> float:
    """Every rank loads the model through host memory, except where ZeRO-3 loads it in pieces."""
    return (1 if spec.zero_stage == 3 else gpus) * 2.0 * arch.parameters
