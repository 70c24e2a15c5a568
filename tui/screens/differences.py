"""Settings of several runs side by side, as far as they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from tui.screens.fields import text_of
from tui.screens.wording import one_line

#: Words for people say nothing about a run.
_NOT_COMPARED = frozenset({"why", "needs", "preset"})


def differences(settings: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each setting that isn't the same everywhere: its name, then its values."""
    names = dict.fromkeys(name for one in settings for name in one if name not in _NOT_COMPARED)
    rows = []
    for name in names:
        values = [one.get(name) for one in settings]
        if any(value != values[0] for value in values):
            rows.append([name, *(one_line(text_of(value)) or "-" for value in values)])
    return rows or [["settings", *("the same" for _ in settings)]]


def table(rows: Sequence[Sequence[str]], most: int = 28) -> str:
    """Return rows as aligned text with columns of at most ``most`` cells."""
    widths = [min(most, max(cell_len(row[index]) for row in rows)) for index in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [_fitted(text, width) for text, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _fitted(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "~"
