"""Which kind of data goes with which stage of training."""

from __future__ import annotations

from presets.mapping import Mapping

#: What each stage trains on, for messages.
DATA_OF_STAGE = {
    "sft": "conversations",
    "dpo": "pairs of a chosen and a rejected answer",
    "pt": "plain text",
}


def stage_of(mapping: Mapping) -> str:
    """Return the stage that a dataset with these roles is for."""
    if mapping.columns("text"):
        return "pt"
    return "dpo" if mapping.columns("rejected") else "sft"
