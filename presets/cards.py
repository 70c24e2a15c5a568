"""The memory of the cards that people rent, by the names that drivers and clouds give them."""

from __future__ import annotations

import difflib

from presets.errors import InvalidInput

_GIB = 1024**3
#: From the vendors' data sheets; drivers report up to 1 % less. In GiB.
_CARDS = {
    "A10": 24,
    "A40": 48,
    "A100": 80,
    "A100 40GB": 40,
    "A100 80GB": 80,
    "B200": 180,
    "GTX 1080 Ti": 11,
    "H100": 80,
    "H100 NVL": 94,
    "H200": 141,
    "L4": 24,
    "L40": 48,
    "L40S": 48,
    "MI300X": 192,
    "RTX 2000 Ada": 16,
    "RTX 2080 Ti": 11,
    "RTX 3080": 10,
    "RTX 3090": 24,
    "RTX 4000 Ada": 20,
    "RTX 4080": 16,
    "RTX 4090": 24,
    "RTX 5000 Ada": 32,
    "RTX 5080": 16,
    "RTX 5090": 32,
    "RTX 6000 Ada": 48,
    "RTX A4000": 16,
    "RTX A4500": 20,
    "RTX A5000": 24,
    "RTX A6000": 48,
    "RTX PRO 6000": 96,
    "T4": 16,
    "V100": 16,
    "V100 32GB": 32,
}


def card_names() -> list[str]:
    """Return the names that ``card_vram_bytes`` knows."""
    return sorted(_CARDS)


def card_vram_bytes(name: str) -> int:
    """Return a card's memory in bytes; raises InvalidInput with the nearest names."""
    known = {_plain(card): size for card, size in _CARDS.items()}
    plain = _plain(name)
    if plain in known:
        return known[plain] * _GIB
    near = difflib.get_close_matches(plain, known, n=3)
    names = [card for card in _CARDS if _plain(card) in near] or card_names()
    raise InvalidInput(
        f"There is no card {name!r} in the table.",
        cause=f"Known: {', '.join(names)}.",
        remedy="Name one of these.",
    )


def _plain(name: str) -> str:
    words = name.lower().replace("-", " ").split()
    return "".join(word for word in words if word not in ("nvidia", "geforce", "amd", "tesla", "instinct"))
