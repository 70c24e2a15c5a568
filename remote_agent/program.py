"""How one role of the agent starts another: the same file, another argument."""

from __future__ import annotations

import sys
from pathlib import Path

#: ``agent.pyz``, or the source tree when the agent runs unpacked; a job's PYTHONPATH.
PACKAGE_ROOT = Path(__file__).absolute().parent.parent


def launcher() -> list[str]:
    """Return how every role's argv begins: isolated from the user's site and from PYTHON variables."""
    if PACKAGE_ROOT.is_file():
        return [sys.executable, "-I", str(PACKAGE_ROOT)]
    return [sys.executable, "-I", "-m", "remote_agent"]


def command(role: str, *arguments: str) -> list[str]:
    """Return the argv of a role."""
    return [*launcher(), role, *arguments]


def build() -> str:
    """Return the name of this build: of the folder that holds agent.pyz, or ``source``."""
    return PACKAGE_ROOT.parent.name if PACKAGE_ROOT.is_file() else "source"
