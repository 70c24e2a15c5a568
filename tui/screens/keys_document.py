"""docs/KEYS.md, from the same tables as the app's help."""

from __future__ import annotations

from tui.actions import PLACES, actions_for, key_label
from tui.screens.base import keys_of
from tui.widgets.chart import Chart
from tui.widgets.gauge import GpuStrip
from tui.widgets.logview import LogView

_HEAD = """# Keys

Written from the app's own tables by `python -m tui.screens.keys_document`; a test keeps it true.

A key is changed in `config.toml` by the id of its action: `keys = {"runs.stop" = "f10"}`.
Inside a text field letters are text: F1 is help and ctrl+q quits there.
"""


def keys_document() -> str:
    """Return the page."""
    parts = [_HEAD]
    for place, title in PLACES.items():
        rows = [
            f"| {key_label(action.keys)} | {action.help} | `{action.id}` |" for action in actions_for(place)
        ]
        parts.append(
            "\n".join([f"## {title}", "", "| key | what it does | id |", "|---|---|---|", *rows, ""])
        )
    for title, widget in (("Charts", Chart), ("Log", LogView), ("Machine", GpuStrip)):
        rows = [f"| {keys} | {text} |" for keys, text in keys_of(widget)]
        parts.append("\n".join([f"## {title}", "", "| key | what it does |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    import sys

    sys.stdout.write(keys_document())
