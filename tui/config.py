"""The user's settings: ``config.toml``; a missing file means all defaults."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import tomllib

from tui.errors import InvalidInput
from tui.paths import config_dir


@dataclass(frozen=True)
class Config:
    """Settings; every key is optional."""

    #: Name of the app's theme; empty is finetui's own.
    theme: str = ""
    #: Draw charts with ASCII characters only.
    ascii: bool = False
    #: Targets that are always shown, beside ``local`` and those of known runs.
    targets: tuple[str, ...] = ()
    #: Key of an action of the app, by the action's name.
    keys: dict[str, str] = field(default_factory=dict)
    #: How to speak to RunPod: v2 needs nothing more, graphql the extra finetui[runpod].
    runpod_api: str = "v2"


def config_path() -> Path:
    """Return where the settings are read from."""
    return config_dir() / "config.toml"


def load_config(path: Path | None = None) -> Config:
    """Read the settings; raises InvalidInput with file, key and fix."""
    path = path or config_path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"can't read {path}", cause=str(error), remedy="fix or remove the file") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(
            f"{path} is not TOML", cause=str(error), remedy="fix or remove the file"
        ) from error
    return Config(**{key: _checked(path, key, value) for key, value in document.items()})


def _checked(path: Path, key: str, value: Any) -> Any:
    known = [item.name for item in fields(Config)]
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        raise InvalidInput(f"{path}: unknown key {key!r}", remedy=remedy)
    if key == "theme" and isinstance(value, str):
        return value
    if key == "runpod_api" and value in ("v2", "graphql"):
        return value
    if key == "ascii" and isinstance(value, bool):
        return value
    if key == "targets" and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if key == "keys" and isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return value
    expected = {
        "theme": "a string",
        "ascii": "true or false",
        "targets": "a list of strings",
        "keys": "a table of action = key",
        "runpod_api": '"v2" or "graphql"',
    }
    raise InvalidInput(f"{path}: {key} has the wrong type", remedy=f"write {expected[key]}")
