"""Wrapped lines: which pieces of which lines fill a page, from a row down or up to the last one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.strip import Strip


@dataclass(frozen=True)
class Piece:
    """A part of the line in ``row``, from its cell ``left`` on."""

    row: int
    left: int
    strip: Strip


def pieces(strip: Strip, row: int, width: int) -> list[Piece]:
    """Cut a line at every ``width`` cells; an empty one is one piece."""
    return [
        Piece(row, left, strip.crop(left, left + width))
        for left in range(0, max(1, strip.cell_length), max(1, width))
    ]


def page_down(draw: Callable[[int], Strip], first: int, rows: int, width: int, height: int) -> list[Piece]:
    """Return the pieces of a page that begins with the row ``first``."""
    page: list[Piece] = []
    while len(page) < height and first < rows:
        page += pieces(draw(first), first, width)
        first += 1
    return page[:height]


def page_up(draw: Callable[[int], Strip], rows: int, width: int, height: int) -> list[Piece]:
    """Return the pieces of a page that ends with the last row."""
    page: list[Piece] = []
    row = rows - 1
    while len(page) < height and row >= 0:
        page[:0] = pieces(draw(row), row, width)
        row -= 1
    return page[-height:] if height > 0 else []
