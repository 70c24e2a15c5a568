"""One line of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GIB = 1024**3


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``level`` is ok, warning or failure."""

    name: str
    level: str
    text: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as sent."""
        return {"name": self.name, "level": self.level, "text": self.text, "remedy": self.remedy}


def gib(count: int | None) -> str:
    """Return a number of bytes for people."""
    return "unknown" if count is None else f"{count / GIB:.1f} GiB"
