"""The shapes of models: what memory, disk and time are reckoned from."""

from __future__ import annotations

from importlib import resources

import msgspec

from presets.spec import RunSpec
from presets.yaml_file import parse_document


class Architecture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dense decoder-only transformer; sizes in elements."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    tied: bool
    #: 3 for a gated MLP, 2 without a gate.
    ffn_matrices: int = 3

    @property
    def linear_parameters(self) -> int:
        """Parameters of the linear layers inside the blocks: attention and MLP."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        return self.layers * (attention + self.ffn_matrices * self.hidden * self.ffn)

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding and of the output layer, counted once where they are tied."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All parameters, norms left out (under 0.01 %)."""
        return self.linear_parameters + self.embedding_parameters

    def lora_parameters(self, rank: int) -> int:
        """Trainable parameters of LoRA on all linear layers of the blocks."""
        attention = 2 * (self.hidden + self.heads * self.head_dim)
        attention += 2 * (self.hidden + self.kv_heads * self.head_dim)
        return rank * self.layers * (attention + self.ffn_matrices * (self.hidden + self.ffn))


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
    text = (resources.files("presets") / "models.yaml").read_text(encoding="utf-8")
    shape = parse_document(text, "models.yaml").values.get(spec.model)
    return None if shape is None else msgspec.convert(shape, Architecture)
