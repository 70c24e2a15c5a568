"""What a run is doing, as one line."""

from __future__ import annotations

from tui.screens.board import KnownRun
from tui.screens.wording import duration, one_line


def phase_text(known: KnownRun, now_wall: float) -> str:
    """Return the phase of a run with its detail, amount and elapsed time, as one line."""
    status = known.status
    if not status.phase:
        return ""
    parts = [f"{status.phase}: {one_line(status.detail)}" if status.detail else status.phase]
    if status.phase_done is not None and status.phase_total:
        parts.append(f"{status.phase_done:,.0f} of {status.phase_total:,.0f}")
    if known.active and status.phase_started:
        parts.append(f"for {duration(now_wall - status.phase_started)}")
    return " · ".join(parts)
