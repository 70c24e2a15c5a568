"""The catalogue as the launch screen lists it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from presets.errors import FinetuiError
from tui.screens.wording import one_line


@dataclass(frozen=True)
class PresetCard:
    """A preset with its values; a broken file has ``why`` say so and no values."""

    name: str
    why: str = ""
    needs: str = ""
    values: dict[str, Any] = field(default_factory=dict)


def first_sentence(text: str) -> str:
    """Return the text up to its first full stop; "3.5" and "e.g. x" don't count as one."""
    end = re.search(r"(?<=[a-z)])[.:;] (?=[A-Z])", text)
    return text[: end.start() + 1] if end else text


def list_presets(extra_dirs: Sequence[Path] = ()) -> list[PresetCard]:
    """Read all presets, the demo first; a file broken by hand is listed with its fault."""
    from presets import catalog, spec

    cards = []
    for name in sorted(catalog.names(extra_dirs), key=lambda name: (name != "demo", name)):
        try:
            found = spec.resolve(name, extra_dirs=extra_dirs)
        except FinetuiError as error:
            cards.append(
                PresetCard(name, one_line(f"Can't be used: {error.message}"), one_line(error.remedy))
            )
        else:
            cards.append(PresetCard(name, one_line(found.why), one_line(found.needs), found.to_dict()))
    return cards
