"""``finetui`` without a command: the app."""

from __future__ import annotations

import argparse
import os
import sys

from tui.errors import InvalidInput

_REMEDY = "use the command line: finetui --help lists its commands, `finetui runs` your runs"


def app(arguments: argparse.Namespace) -> int:
    """Open the app; raises InvalidInput where this terminal can't show it."""
    require_terminal()
    from tui.app import run

    run()
    return 0


def has_terminal() -> bool:
    """Tell whether a person sits at a terminal that can draw."""
    return (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    )


def require_terminal() -> None:
    """Raise InvalidInput that points to the command line where the app can't run."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidInput("the app needs a terminal, and this is none", remedy=_REMEDY)
    if not has_terminal():
        name = os.environ.get("TERM") or "not set"
        raise InvalidInput(f"the app can't draw on this terminal: TERM is {name}", remedy=_REMEDY)
