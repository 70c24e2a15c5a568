"""How fast a run trains, reckoned from arithmetic: tokens a second, and seconds for a number of tokens.

tokens/s on one GPU = MFU x peak / FLOPs a token. The shares of the peak (MFU) are what published runs of the
same stack reached (docs/SIZING.md); the first steps of a real run take their place as soon as there are any.
"""

from __future__ import annotations

from dataclasses import dataclass

from presets.gpus import Card
from presets.models import Architecture
from presets.sizing import trainable_parameters
from presets.spec import RunSpec

#: Share of the card's peak by method; QwenLM/Qwen README on A100 80 GB with Hugging Face's trainer.
_MFU = {"full": 0.36, "freeze": 0.40, "lora": 0.45, "qlora": 0.38}
SOURCE = "share of peak that QwenLM/Qwen README reached on A100 with the same stack"
#: Published runs of the same kind lie this far around; without packing, padding makes it worse.
UNCERTAINTY = 0.4
#: Gathering weights for every layer (ZeRO-3) against holding them, on NVLink and on PCIe alike a guess.
_ZERO3_SHARE = 0.85
#: A mixture of experts is computed in many small products.
_EXPERTS_SHARE = 0.5
#: Adam on the CPU: 0.26 s for 1e9 parameters (ZeRO-Offload paper, table 4).
_CPU_ADAM_S_PER_PARAMETER = 0.26e-9
#: Gradients down and weights up, 2 bytes each, over PCIe at 12 GB/s on each card.
_PCIE_BYTES_PER_S = 12e9


@dataclass(frozen=True)
class Throughput:
    """Tokens a second over all GPUs; ``mfu`` is the share of the cards' peak without any offload."""

    tokens_per_s: float
    mfu: float
    source: str = SOURCE
    uncertainty: float = UNCERTAINTY

    def seconds(self, tokens: float) -> float:
        """Return the seconds that ``tokens`` take."""
        return tokens / self.tokens_per_s


def throughput(spec: RunSpec, arch: Architecture, card: Card, gpus: int) -> Throughput:
    """Return the speed of ``spec`` on ``gpus`` such cards, every sequence filled."""
    mfu = _MFU[spec.method]
    mfu *= _ZERO3_SHARE if spec.zero_stage == 3 and gpus > 1 else 1
    mfu *= _EXPERTS_SHARE if arch.experts > 1 else 1
    each = mfu * card.tflops * 1e12 / flops_per_token(spec, arch)
    tokens_per_step = spec.micro_batch * spec.gradient_accumulation * spec.cutoff_len * gpus
    step_s = tokens_per_step / (each * gpus) + _offload_s(spec, arch, gpus)
    return Throughput(tokens_per_step / step_s, mfu)


def flops_per_token(spec: RunSpec, arch: Architecture) -> float:
    """Return the operations for one token: 2N forward, 2N again when checkpointed, 2N back, 2N for weights.

    Only trained weights have gradients of their own; attention adds its scores, half of them masked.
    """
    forward = 2.0 * arch.active_parameters
    share = min(1.0, trainable_parameters(spec, arch) / arch.parameters)
    passes = 2.0 + (1.0 if spec.gradient_checkpointing else 0.0)
    seen = min(spec.cutoff_len, arch.window or spec.cutoff_len)
    scores = 2.0 * arch.layers * arch.heads * arch.head_dim * seen
    total = passes * forward + share * forward + (passes + 1.0) * scores
    if spec.stage == "dpo" and spec.method == "full":
        total += forward
    return total


def _offload_s(spec: RunSpec, arch: Architecture, gpus: int) -> float:
    if not spec.offload_optimizer:
        return 0.0
    trained = trainable_parameters(spec, arch)
    return trained * _CPU_ADAM_S_PER_PARAMETER + 4.0 * trained / gpus / _PCIE_BYTES_PER_S
