"""One thing that a person should know before a launch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_ORDER = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """``where`` is the key, the data or the part of the machine; an error keeps a run from being launched."""

    level: Literal["error", "warning", "note"]
    where: str
    reason: str
    fix: str


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings, errors first, otherwise as they came."""
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.level)))
