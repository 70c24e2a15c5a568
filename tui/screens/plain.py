"""Everything in ASCII, for terminals and console fonts without more."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_TABLE = {
    **dict.fromkeys("─━┄┈╌╍═▁▔▂▃", "-"),
    **dict.fromkeys("│┃║▌▐▎▏▍▊▋▉▕", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼╋┏┓┗┛", "+"),
    **dict.fromkeys("█▇▆▅▄▓▒░▀", "#"),
    **dict.fromkeys("●✓", "*"),
    **dict.fromkeys("○◌◔◑", "o"),
    **dict.fromkeys("·•", "-"),
    "✗": "!",
    "■": "=",
    "…": "~",
    "▸": ">",
    "▶": ">",
    "▼": "v",
    "°": " ",
}


class AsciiFilter(LineFilter):
    """Replaces every character beyond ASCII by one that looks like it, else by a question mark a cell."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the line in ASCII, as wide as before."""
        return [
            segment
            if segment.text.isascii()
            else Segment("".join(map(_plain, segment.text)), segment.style, segment.control)
            for segment in segments
        ]


def _plain(character: str) -> str:
    if character.isascii():
        return character
    return _TABLE.get(character) or "?" * cell_len(character)
