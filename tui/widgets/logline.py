"""One line of a log as a strip: its own colours, the hits of a search, the selection."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tui.state.ansi import Color, Look, parse

#: Characters of a line that are drawn; searches see the whole line.
MAX_DRAWN = 4096


def draw_line(
    text: str,
    base: Style,
    *,
    pattern: re.Pattern[str] | None = None,
    match: Style | None = None,
    cursor: Style | None = None,
) -> Strip:
    """Return the whole line (at most MAX_DRAWN characters), hits in ``match``, all of it over ``cursor``."""
    if cursor is not None:
        base += cursor
    runs = parse(text[: 4 * MAX_DRAWN])
    segments, room = [], MAX_DRAWN
    for part, look in runs:
        segments.append(Segment(part[:room], base + _style(look)))
        room -= len(part)
        if room <= 0:
            break
    if pattern is not None and match is not None:
        drawn = "".join(segment.text for segment in segments)
        segments = list(_overlay(segments, (hit.span() for hit in pattern.finditer(drawn)), match))
    return Strip(segments)


def select_cells(strip: Strip, start: int, end: int, style: Style) -> Strip:
    """Return the strip with the cells start..end-1 drawn in ``style``."""
    start, end = max(0, start), min(strip.cell_length, end)
    if end <= start:
        return strip
    return Strip.join([
        strip.crop(0, start),
        strip.crop(start, end).apply_style(style),
        strip.crop(end, strip.cell_length),
    ])  # fmt: skip


def _overlay(segments: list[Segment], spans: Iterable[tuple[int, int]], style: Style) -> Iterable[Segment]:
    """Cut the segments at the spans (ascending, in characters) and style what is inside."""
    edges = [edge for start, end in spans if end > start for edge in ((start, False), (end, True))]
    inside, position, upcoming = False, 0, iter([*edges, (MAX_DRAWN + 1, True)])
    edge, closes = next(upcoming)
    for text, own, _control in segments:
        rest = text
        while rest:
            while edge <= position:
                inside = not closes
                edge, closes = next(upcoming, (MAX_DRAWN + 1, True))
            part, rest = rest[: edge - position], rest[edge - position :]
            position += len(part)
            yield Segment(part, (own or Style.null()) + style if inside else own)


@lru_cache(maxsize=256)
def _style(look: Look) -> Style:
    return Style(
        color=_rich_color(look.fg),
        bgcolor=_rich_color(look.bg),
        bold=look.bold or None,
        dim=look.dim or None,
        italic=look.italic or None,
        underline=look.underline or None,
        reverse=look.reverse or None,
        strike=look.strike or None,
    )


def _rich_color(color: Color | None) -> RichColor | None:
    if color is None:
        return None
    return RichColor.from_ansi(color) if isinstance(color, int) else RichColor.from_rgb(*color)
