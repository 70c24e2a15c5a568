"""The settings that a run was launched with, kept here so that runs are compared offline too."""

from __future__ import annotations

import json
from typing import Any

from tui.errors import FinetuiError
from tui.paths import private_dir
from tui.remote.agent_client import AgentClient
from tui.state.history import History, write_json

_NAME = "settings.json"


def fetch_settings(client: AgentClient, run: str) -> dict[str, Any]:
    """Return a run's settings as its machine has them, and keep them; raises RemoteError, Unreachable."""
    spec = client.request("run.spec", {"run": run})
    config = spec.get("config") if isinstance(spec, dict) else None
    settings = config if isinstance(config, dict) else {}
    write_json(private_dir(History().folder(run)) / _NAME, settings)
    return settings


def kept_settings(run: str) -> dict[str, Any] | None:
    """Return the settings that are kept here, None when there are none; raises FinetuiError."""
    path = History().folder(run) / _NAME
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FinetuiError(f"can't read {path}", cause=str(error), remedy="remove the file") from error
    return settings if isinstance(settings, dict) else None
