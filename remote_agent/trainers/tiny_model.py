"""Makes the demo's model: a small Llama with random weights and a tokenizer trained on the dataset itself.

``python -m remote_agent.trainers.tiny_model model.yaml`` in the prepared folder. Its keys, all optional::

    data: data/train.jsonl       output: model      seed: 0          vocab_size: 2048
    hidden_size: 192             layers: 4          heads: 4         intermediate_size: 512
    max_position_embeddings: 2048
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from remote_agent.trainers.files import PhaseReport, run_directory, say

END_OF_TURN = "<|im_end|>"
PADDING = "<|endoftext|>"
SPECIAL_TOKENS = (PADDING, "<|im_start|>", END_OF_TURN)
#: The turns as LLaMA-Factory's template "chatml" writes them, for other programs that open the checkpoint.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class TinyModel:
    """The shape of the model and where it is read from and written to, relative to the working directory."""

    data: str = "data/train.jsonl"
    output: str = "model"
    seed: int = 0
    vocab_size: int = 2048
    hidden_size: int = 192
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 512
    max_position_embeddings: int = 2048


def read_shape(path: Path) -> TinyModel:
    """Read ``model.yaml``; raises OSError, or ValueError naming the key that is wrong."""
    import yaml

    document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    known = {item.name: type(item.default) for item in fields(TinyModel)}
    for key, value in document.items():
        if type(value) is not known.get(key):
            raise ValueError(f"{path}: {key}: {value!r} is not a setting of the tiny model")
    return TinyModel(**document)


def texts(path: Path) -> Iterator[str]:
    """Yield every string of every row of a JSONL file: whatever its columns, the tokenizer learns them."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield from _strings(json.loads(line))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def make_tokenizer(corpus: Iterator[str], vocab_size: int, max_length: int) -> Any:
    """Train a byte-level BPE tokenizer: every text of every language has tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=PADDING,
        additional_special_tokens=list(SPECIAL_TOKENS),
        chat_template=CHAT_TEMPLATE,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def make_model(shape: TinyModel, tokenizer: Any) -> Any:
    """Return a Llama with random weights; the same seed gives the same weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(shape.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=shape.max_position_embeddings,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def build(folder: Path, shape: TinyModel) -> int:
    """Write the model and its tokenizer into ``folder/shape.output``; returns the number of parameters."""
    tokenizer = make_tokenizer(texts(folder / shape.data), shape.vocab_size, shape.max_position_embeddings)
    model = make_model(shape, tokenizer)
    target = folder / shape.output
    tokenizer.save_pretrained(target)
    model.save_pretrained(target)
    return int(model.num_parameters())


def main(argv: list[str]) -> int:
    """Build the model that the file named in ``argv`` describes; returns the exit code."""
    path = Path(argv[0] if argv else "model.yaml").absolute()
    report = PhaseReport(run_directory())
    report("model", "making a small model and its tokenizer")
    parameters = build(path.parent, read_shape(path))
    say(f"made a Llama of {parameters / 1e6:.1f} M parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
