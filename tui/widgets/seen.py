"""Whether a screen can be seen at all: what is drawn on one that can't costs a repaint of the one on top."""

from __future__ import annotations

from typing import Any

from textual.screen import Screen


def seen(screen: Screen[Any]) -> bool:
    """Tell whether a screen is on top, or has only dialogs over it.

    Not ``Screen.is_current``: in Textual 8.2 that is also true of the screen right below an opaque one, and
    any refresh there repaints the whole terminal (20 kB at 120x40).
    """
    for other in reversed(screen.app.screen_stack):
        if other is screen:
            return True
        if not other.is_modal:
            return False
    return False
