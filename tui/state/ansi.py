"""Text of strangers made safe to draw: SGR colours are kept as data, every other control is dropped."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

#: A palette index 0..255 or red, green, blue.
Color = int | tuple[int, int, int]

TAB = 8

_TOKEN = re.compile(
    "(?P<csi>(?:\x1b\\[|\x9b)(?P<args>[0-?]*)[ -/]*(?P<final>[@-~])?)"
    # OSC, DCS, SOS, PM, APC with their end; without one only the introducer goes, so that nothing is hidden.
    "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])(?:[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\\\|\x9c))?"
    "|\x1b[ -/]*[0-~]?"
    "|(?P<tab>\t)"
    # C0 and C1 controls, line and paragraph separators, and what reorders or hides text.
    "|[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
_SUSPECT = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")


@dataclass(frozen=True, slots=True)
class Look:
    """What SGR asked for; ``None`` is the terminal's own colour."""

    fg: Color | None = None
    bg: Color | None = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    reverse: bool = False
    strike: bool = False


PLAIN = Look()

_FLAGS_ON = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "reverse", 9: "strike"}
_FLAGS_OFF = {
    22: ("bold", "dim"),
    23: ("italic",),
    24: ("underline",),
    27: ("reverse",),
    29: ("strike",),
}


def plain(text: str) -> str:
    """Return ``text`` without any control or escape sequence; tabs become spaces."""
    if not _SUSPECT.search(text):
        return text
    return "".join(part for part, _look in parse(text))


def parse(text: str, look: Look = PLAIN) -> list[tuple[str, Look]]:
    """Split one line into runs of equal look; the texts hold printable characters only.

    ``look`` is the one in force before the line.
    """
    if not _SUSPECT.search(text):
        return [(text, look)] if text else []
    runs: list[tuple[str, Look]] = []
    column = end = 0
    for token in _TOKEN.finditer(text):
        if token.start() > end:
            column += _put(runs, text[end : token.start()], look)
        end = token.end()
        if token["tab"]:
            column += _put(runs, " " * (TAB - column % TAB), look)
        elif token["final"] == "m":
            look = _sgr(look, token["args"])
    if end < len(text):
        _put(runs, text[end:], look)
    return runs


def _put(runs: list[tuple[str, Look]], text: str, look: Look) -> int:
    if runs and runs[-1][1] == look:
        runs[-1] = (runs[-1][0] + text, look)
    else:
        runs.append((text, look))
    return len(text)


def _sgr(look: Look, args: str) -> Look:
    """Apply the parameters of one SGR sequence; unknown ones are ignored."""
    if any(char not in "0123456789;:" for char in args):
        return look
    codes = [int(code) if code and len(code) < 4 else 0 for code in args.replace(":", ";").split(";")]
    index = 0
    while index < len(codes):
        code = codes[index]
        index += 1
        if code == 0:
            look = PLAIN
        elif code in (38, 48):
            color, used = _extended(codes[index:])
            index += used
            if color is not None:
                look = replace(look, fg=color) if code == 38 else replace(look, bg=color)
        else:
            look = _simple(look, code)
    return look


def _simple(look: Look, code: int) -> Look:
    if code in _FLAGS_ON:
        return replace(look, **{_FLAGS_ON[code]: True})
    if code in _FLAGS_OFF:
        return replace(look, **dict.fromkeys(_FLAGS_OFF[code], False))
    if 30 <= code <= 37 or 90 <= code <= 97:
        return replace(look, fg=code - 30 if code < 40 else code - 82)
    if 40 <= code <= 47 or 100 <= code <= 107:
        return replace(look, bg=code - 40 if code < 50 else code - 92)
    if code == 39:
        return replace(look, fg=None)
    if code == 49:
        return replace(look, bg=None)
    return look


def _extended(codes: list[int]) -> tuple[Color | None, int]:
    """Return the colour of 38/48 and how many parameters it took."""
    if codes[:1] == [5] and len(codes) >= 2:
        return (codes[1] if codes[1] < 256 else None), 2
    if codes[:1] == [2] and len(codes) >= 4:
        red, green, blue = codes[1:4]
        return ((red, green, blue) if max(red, green, blue) < 256 else None), 4
    return None, len(codes)
