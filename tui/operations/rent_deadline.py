"""When the pods that were rented from this laptop end by themselves: the provider does not tell."""

from __future__ import annotations

import json

from tui.operations.rent_keys import folder_of
from tui.paths import private_dir
from tui.state.history import write_json


def keep(marker: str, terminate_after: float) -> None:
    """Remember a pod's deadline, in seconds since the epoch; raises FinetuiError."""
    write_json(private_dir(folder_of(marker)) / "pod.json", {"terminate_after": terminate_after})


def find(marker: str) -> float | None:
    """Return a pod's deadline, None where it was not rented from this laptop."""
    if not marker:
        return None
    try:
        found = json.loads((folder_of(marker) / "pod.json").read_text("utf-8"))["terminate_after"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(found) if isinstance(found, int | float) else None
