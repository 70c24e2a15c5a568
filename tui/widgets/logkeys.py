"""The keys of a log view, each with its id for the config file and its words for help."""

from __future__ import annotations

from textual.binding import Binding, BindingType

HELP = (
    "The run's output. It follows the end until you move up; End, G or f follow again. "
    "/ finds a regular expression, n and N go to the next and previous hit, & shows matching lines only, "
    "empty clears. : goes to a step, a time or a line; w wraps long lines; p shows one rank's own log. "
    "y copies a line (click to choose it), Y all matches."
)


def _key(keys: str, action: str, label: str, name: str, words: str, *, show: bool = False) -> Binding:
    return Binding(keys, action, label, id=f"log.{name}", tooltip=words, show=show)


KEYS: list[BindingType] = [
    _key("up,k", "move(-1)", "Up", "up", "One line up; stops following"),
    _key("down,j", "move(1)", "Down", "down", "One line down"),
    _key("pageup,ctrl+b", "page(-1)", "Page up", "page-up", "One page up"),
    _key("pagedown,space", "page(1)", "Page down", "page-down", "One page down"),
    _key("home,g", "top", "Start", "start", "First line"),
    _key("end,G", "end", "End", "end", "Last line, and follow"),
    _key("left", "sideways(-8)", "Left", "left", "Scroll left"),
    _key("right", "sideways(8)", "Right", "right", "Scroll right"),
    _key("f", "follow", "Follow", "follow", "Follow the end, or stop following", show=True),
    _key("slash", "ask('find')", "Find", "find", "Find a regular expression", show=True),
    _key("ampersand", "ask('filter')", "Filter", "filter", "Show matching lines only", show=True),
    _key("colon", "ask('jump')", "Go to", "jump", "Go to a step, a time of day or a line", show=True),
    _key("w", "wrap", "Wrap", "wrap", "Wrap long lines, or cut them"),
    _key("p", "rank", "Rank", "rank", "Show the log of the next rank, then the run's again"),
    _key("n", "hit(1)", "Next", "next", "Next hit"),
    _key("N", "hit(-1)", "Previous", "previous", "Previous hit"),
    _key("y", "copy_line", "Copy", "copy", "Copy the chosen line"),
    _key("Y", "copy_matches", "Copy all", "copy-matches", "Copy all matching lines, or the visible ones"),
]
