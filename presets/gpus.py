"""Graphics cards by name: memory, speed and compute capability."""

from __future__ import annotations

import difflib
import functools
import re
from importlib import resources

import msgspec

from presets.errors import InvalidInput
from presets.yaml_file import parse_document

GIB = 1024**3
#: What the driver keeps of a card's memory: an RTX 6000 Ada of 48 GiB shows 49140 MiB, an H100 81559 MiB.
_DRIVER_SHARE = 0.995
#: Compute capability from which on there is bf16 arithmetic (Ampere).
_BF16_CAPABILITY = 8.0


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of card; ``vram`` in GiB, ``tflops`` dense bf16, ``cc`` CUDA compute capability."""

    name: str
    vram: float
    tflops: float
    cc: float
    aliases: tuple[str, ...] = ()

    @property
    def vram_bytes(self) -> int:
        """Bytes that CUDA sees."""
        return int(self.vram * GIB * _DRIVER_SHARE)

    @property
    def has_bf16(self) -> bool:
        """True where bf16 is arithmetic of the card, and not emulated."""
        return self.cc >= _BF16_CAPABILITY


def card(name: str) -> Card:
    """Return the card of that name; raises InvalidInput with the nearest names."""
    found = find(name)
    if found is not None:
        return found
    names = [known.name for known in cards()]
    folded = {_folded(known): known for known in names}
    near = [folded[match] for match in difflib.get_close_matches(_folded(name), folded, n=3, cutoff=0.4)]
    raise InvalidInput(
        f"There is no card {name!r} in the list.",
        cause=f"Nearest: {', '.join(near)}." if near else f"There are: {', '.join(names)}.",
        remedy='Write it as nvidia-smi does, for example --gpu "RTX 4090"',
    )


def find(name: str) -> Card | None:
    """Return the card of a name as people, clouds and NVML write it; None where it is not in the list."""
    folded = _folded(name)
    known = _by_name()
    if folded in known:
        return known[folded]
    # "4090" for "RTX 4090": the end of one card's name alone.
    ends = {id(known[each]): known[each] for each in known if folded and each.endswith(folded)}
    return next(iter(ends.values())) if len(ends) == 1 else None


@functools.cache
def cards() -> tuple[Card, ...]:
    """Return all cards of ``gpus.yaml``."""
    text = (resources.files("presets") / "gpus.yaml").read_text(encoding="utf-8")
    rows = parse_document(text, "gpus.yaml").values
    return tuple(msgspec.convert({"name": name, **row}, Card) for name, row in rows.items())


@functools.cache
def _by_name() -> dict[str, Card]:
    return {_folded(name): known for known in cards() for name in (known.name, *known.aliases)}


def _folded(name: str) -> str:
    """Lower case without makers' words and separators."""
    words = re.sub(r"\b(nvidia|geforce|tesla)\b", " ", name.casefold())
    return re.sub(r"[\s_-]+", "", words)
