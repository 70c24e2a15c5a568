"""The user's token of the Hugging Face Hub: never in a spec or an argument, only among a launch's secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def hub_secrets(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the token as the secret of a launch, nothing where the user has none.

    From HF_TOKEN, else from the file in which `hf auth login` keeps it.
    """
    token = environment.get("HF_TOKEN") or environment.get("HUGGING_FACE_HUB_TOKEN") or _kept(environment)
    return {"HF_TOKEN": token.strip()} if token.strip() else {}


def _kept(environment: Mapping[str, str]) -> str:
    home = environment.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    try:
        return Path(environment.get("HF_TOKEN_PATH") or Path(home) / "token").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
