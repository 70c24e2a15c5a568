"""How much memory and disk a run needs, part by part, before a GPU is paid for.

The formulas are those of the ZeRO paper and of DeepSpeed's own estimators for the states, and counts of the
tensors that a transformer keeps for its backward pass for the activations. On published tables they are
within 5 % for LoRA and 10 % for full fine-tuning; QLoRA is less certain (within 30 %).
"""

from __future__ import annotations

from dataclasses import dataclass

from presets.models import Architecture
from presets.spec import RunSpec

GIB = 1024**3
#: Allocator slack over the sum of the tensors.
_FRAGMENTATION = 1.06
_CUDA_CONTEXT_BYTES = int(0.8 * GIB)
_NCCL_BYTES = int(0.6 * GIB)
#: DeepSpeed's estimators add half for the buffers that offloading pins.
_OFFLOAD_BUFFERS = 1.5
#: Elements of presets/deepspeed/zero1*.json and zero2*.json buckets; two are alive at once.
_BUCKET_ELEMENTS = 200_000_000
_MAX_LIVE_ELEMENTS = 1_000_000_000
#: bf16 logits, their fp32 copy, the log-softmax and its gradient, per token and vocabulary entry.
_LOGIT_BYTES = 14
#: The trainer's environment: torch with CUDA is most of it.
_ENVIRONMENT_BYTES = 9 * GIB
_CPU_ENVIRONMENT_BYTES = 6 * GIB
#: Python, torch and the dataset in each rank.
_RANK_HOST_BYTES = 2 * GIB
#: A guess for a run that keeps all of its checkpoints.
_UNLIMITED_CHECKPOINTS = 10


@dataclass(frozen=True)
class Estimate:
    """Bytes on each GPU with their parts, on the host for all ranks, and on its disk."""

    per_gpu_bytes: int
    parts: tuple[tuple[str, int], ...]
    host_bytes: int
    disk_bytes: int


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
    tokens = spec.micro_batch * spec.cutoff_len
    parts = {
        "weights": states.weights,
        "gradients": states.gradients,
        "optimizer": states.optimizer,
        "communication buffers": states.buffers,
        "activations": _activations(spec, arch, tokens),
        "logits": _logits(spec, arch, tokens),
    }
    parts["fragmentation"] = (_FRAGMENTATION - 1) * sum(parts.values())
    parts["CUDA context"] = _CUDA_CONTEXT_BYTES
    if gpus > 1:
        parts["NCCL"] = _NCCL_BYTES
    rounded = tuple((name, int(size)) for name, size in parts.items())
    return Estimate(
        per_gpu_bytes=sum(size for _, size in rounded),
        parts=rounded,
        host_bytes=int(max(_loading(spec, arch, gpus), states.offloaded) + gpus * _RANK_HOST_BYTES),
        disk_bytes=int(_disk(spec, arch)),
    )


def trainable_parameters(spec: RunSpec, arch: Architecture) -> int:
    """Return how many parameters are trained; ``freeze`` trains the last two layers."""
    if spec.method in ("lora", "qlora"):
        return arch.lora_parameters(spec.lora_rank)
    if spec.method == "freeze":
        return arch.linear_parameters * min(2, arch.layers) // arch.layers
    return arch.parameters


def weight_bytes(spec: RunSpec, arch: Architecture) -> int:
    """Return the bytes of the base model's weights on one GPU, before any sharding."""
    if spec.quantization_bit == 4:  # nf4 with double quantisation: 4.127 bits
        return int(0.516 * arch.linear_parameters) + 2 * arch.embedding_parameters
    if spec.quantization_bit == 8:
        return arch.linear_parameters + 2 * arch.embedding_parameters
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


def _buffers(arch: Architecture, trained: int, stage: int, gpus: int) -> float:
    if stage == 3:
        # The largest layer is gathered whole on every GPU, and gathered layers stay up to the live limit.
        return min(2 * _MAX_LIVE_ELEMENTS, 2 * arch.parameters) + 4 * arch.vocab * arch.hidden
    if stage:
        return min(2 * 2 * _BUCKET_ELEMENTS, 4 * trained)
    return 4 * trained if gpus > 1 else 0


def _activations(spec: RunSpec, arch: Architecture, tokens: int) -> float:
    """One saved input per layer with checkpointing, else everything the backward pass reads."""
    attention = 3 * arch.heads * arch.head_dim + arch.kv_heads * arch.head_dim
    layer = 2 * tokens * (12 * arch.hidden + attention + 3 * arch.ffn)
    if spec.flash_attn == "disabled":
        layer += int(7.4 * arch.heads * spec.cutoff_len**2 * spec.micro_batch)
    if not spec.gradient_checkpointing:
        return arch.layers * layer
    stored = (4 if spec.method == "qlora" else 2) * arch.layers * arch.hidden * tokens
    # The logits and the layer being recomputed are not alive together: only the larger counts.
    return stored + max(0.0, layer - _logits(spec, arch, tokens))


def _logits(spec: RunSpec, arch: Architecture, tokens: int) -> float:
    return 4 * tokens * arch.hidden if spec.liger else _LOGIT_BYTES * tokens * arch.vocab


def _loading(spec: RunSpec, arch: Architecture, gpus: int) -> float:
    """Every rank loads the model through host memory, except where ZeRO-3 loads it in pieces."""
    return (1 if spec.zero_stage == 3 else gpus) * 2.0 * arch.parameters


def environment_bytes(spec: RunSpec) -> int:
    """Return the disk that the trainer's environment takes, once for all runs."""
    return _CPU_ENVIRONMENT_BYTES if spec.tiny_model is not None else _ENVIRONMENT_BYTES


def _disk(spec: RunSpec, arch: Architecture) -> float:
    """Environment, download, final weights, and one checkpoint more than are kept (rotation comes last)."""
    download = 0 if spec.tiny_model is not None else 2 * arch.parameters
    checkpoints = ((spec.save_limit or _UNLIMITED_CHECKPOINTS) + 1) * checkpoint_bytes(spec, arch)
    return environment_bytes(spec) + download + checkpoints + 2 * arch.parameters


def checkpoint_bytes(spec: RunSpec, arch: Architecture) -> int:
    """Return the bytes of one checkpoint: weights, and optimizer states unless only the model is saved."""
    trained = trainable_parameters(spec, arch)
    adapter = spec.method in ("lora", "qlora")
    weights = 4 * trained if adapter else (4 if spec.precision == "fp32" else 2) * arch.parameters
    if spec.save_only_model:
        return weights
    module_states = 2 * trained if spec.zero_stage in (1, 2) else 0
    return weights + module_states + 12 * trained
