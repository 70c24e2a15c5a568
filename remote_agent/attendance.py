"""Whether a user is connected, told by agentd to the guard through a file that grows stale with agentd."""

from __future__ import annotations

import time

from remote_agent.documents import read_json, write_json
from remote_agent.places import Places

#: agentd writes it every five seconds.
STALE_S = 20.0


def note(places: Places, *, connected: bool) -> None:
    """Say that somebody is connected, or that nobody is."""
    if connected:
        write_json(places.attached, {"at_boottime_s": _boottime_s()})
    else:
        places.attached.unlink(missing_ok=True)


def is_attached(places: Places) -> bool:
    """Return whether somebody was connected a moment ago."""
    at = (read_json(places.attached) or {}).get("at_boottime_s")
    return isinstance(at, int | float) and 0 <= _boottime_s() - at < STALE_S


def _boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
