"""Our themes, and the marks that say a state without colour."""

from __future__ import annotations

import os

from textual.theme import Theme

THEMES = (
    Theme(
        name="finetui-dark",
        primary="#5EA1E8",
        secondary="#3D6E9E",
        accent="#F2B84B",
        warning="#F2B84B",
        error="#EF6B73",
        success="#6CCB8B",
        foreground="#DDE3EA",
        background="#11151A",
        surface="#171C23",
        panel="#222A34",
        variables={"footer-key-foreground": "#F2B84B", "border": "#3A4654", "border-blurred": "#2B3540"},
    ),
    Theme(
        name="finetui-light",
        primary="#1F5FA8",
        secondary="#4C7FB5",
        accent="#9A5B00",
        warning="#9A5B00",
        error="#B3263A",
        success="#1E7A42",
        foreground="#1C2430",
        background="#F5F6F8",
        surface="#FFFFFF",
        panel="#E4E8EE",
        dark=False,
        variables={"footer-key-foreground": "#9A5B00", "border": "#AEB8C4", "border-blurred": "#CBD2DB"},
    ),
    # Okabe-Ito: told apart with every common kind of colour blindness.
    Theme(
        name="finetui-colour-blind",
        primary="#56B4E9",
        secondary="#0072B2",
        accent="#E69F00",
        warning="#F0E442",
        error="#D55E00",
        success="#009E73",
        foreground="#E8E8E8",
        background="#101214",
        surface="#171A1D",
        panel="#24292E",
        variables={"footer-key-foreground": "#E69F00", "border": "#3C444C", "border-blurred": "#2C3238"},
    ),
)

#: The order of the theme key; the last two use the terminal's own sixteen colours.
THEME_CYCLE = (*(theme.name for theme in THEMES), "ansi-dark", "ansi-light")

#: state -> (mark, mark in ASCII, theme colour variable)
STATES = {
    "preparing": ("◌", "~", "accent"),
    "starting": ("◔", "~", "accent"),
    "running": ("●", "*", "success"),
    "stopping": ("◑", "~", "warning"),
    "finished": ("✓", "+", "primary"),
    "stopped": ("■", "=", "secondary"),
    "failed": ("✗", "!", "error"),
    "lost": ("?", "?", "warning"),
}


def mark(state: str, ascii_only: bool = False) -> str:
    """Return the one-character mark of a run's state."""
    full, plain, _ = STATES.get(state, ("·", ".", "foreground"))
    return plain if ascii_only else full


def colour_of(state: str) -> str:
    """Return the name of the theme variable that colours a run's state."""
    return STATES.get(state, ("", "", "foreground"))[2]


def ascii_only(encoding: str | None) -> bool:
    """Tell whether the terminal must be spared everything beyond ASCII.

    ``FINETUI_ASCII=1`` (braille missing in a console font) or an output encoding that isn't UTF-8.
    """
    if os.environ.get("FINETUI_ASCII", "") not in ("", "0"):
        return True
    return (encoding or "").lower().replace("-", "") not in ("utf8", "")
