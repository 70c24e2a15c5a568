"""The shapes of models: what memory, disk and time are reckoned from."""

from __future__ import annotations

import functools
from importlib import resources

import msgspec

from presets.spec import RunSpec
from presets.yaml_file import parse_document


class Architecture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decoder-only transformer, dense or a mixture of experts; sizes in elements."""

    #: transformers' model_type; it decides which kernels there are and what a layer keeps for backward.
    kind: str = "llama"
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    #: Width of the MLP, or of one expert.
    ffn: int
    vocab: int
    tied: bool
    #: 3 for a gated MLP, 2 without a gate.
    ffn_matrices: int = 3
    experts: int = 1
    #: Experts that read a token.
    per_token: int = 1
    #: Parameters beside the language model, always frozen.
    other: int = 0
    #: Tokens that local layers attend to, None where every layer sees everything.
    window: int | None = None

    @property
    def attention_parameters(self) -> int:
        """Parameters of the attention's linear layers, all blocks together."""
        return self.layers * 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)

    @property
    def expert_parameters(self) -> int:
        """Parameters of the MLPs, all experts of all blocks together."""
        return self.layers * self.experts * self.ffn_matrices * self.hidden * self.ffn

    @property
    def linear_parameters(self) -> int:
        """Parameters inside the blocks: attention and MLP."""
        return self.attention_parameters + self.expert_parameters

    @property
    def quantised_parameters(self) -> int:
        """Parameters that bitsandbytes can quantise: linear layers, which fused experts are not."""
        return self.linear_parameters if self.experts == 1 else self.attention_parameters

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding and of the output layer, counted once where they are tied."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All parameters; norms, biases and routers are left out (under 0.1 %)."""
        return self.linear_parameters + self.embedding_parameters + self.other

    @property
    def active_parameters(self) -> int:
        """Parameters that a token is multiplied with, the output layer included."""
        experts = self.expert_parameters * self.per_token // self.experts
        return self.attention_parameters + experts + self.vocab * self.hidden

    def lora_parameters(self, rank: int) -> int:
        """Trainable parameters of LoRA on all linear layers of the blocks; fused experts have none."""
        attention = 2 * (self.hidden + self.heads * self.head_dim)
        attention += 2 * (self.hidden + self.kv_heads * self.head_dim)
        mlp = self.ffn_matrices * (self.hidden + self.ffn) if self.experts == 1 else 0
        return rank * self.layers * (attention + mlp)


def architecture(spec: RunSpec) -> Architecture | None:
    """Return the shape of the spec's model, None where it is not known."""
    tiny = spec.tiny_model
    if tiny is not None:
        return Architecture(
            layers=tiny.layers,
            hidden=tiny.hidden_size,
            heads=tiny.heads,
            kv_heads=tiny.heads,
            head_dim=tiny.hidden_size // tiny.heads,
            ffn=tiny.intermediate_size,
            vocab=tiny.vocab_size,
            tied=True,
        )
    return known_models().get(spec.model)


@functools.cache
def known_models() -> dict[str, Architecture]:
    """Return the shapes of ``models.yaml`` by the Hub's model id."""
    text = (resources.files("presets") / "models.yaml").read_text(encoding="utf-8")
    shapes = parse_document(text, "models.yaml").values
    return {model: msgspec.convert(shape, Architecture) for model, shape in shapes.items()}
