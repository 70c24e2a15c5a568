"""Where the laptop keeps its own files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tui.errors import FinetuiError


def config_dir() -> Path:
    """Return the directory of config.toml and of the user's own presets."""
    return _base("config")


def data_dir() -> Path:
    """Return the directory of history and keys."""
    return _base("data")


def cache_dir() -> Path:
    """Return the directory of what can be made again."""
    return _base("cache")


def history_dir() -> Path:
    """Return the directory that holds one folder a run."""
    return data_dir() / "history"


def keys_dir() -> Path:
    """Return the directory of the model servers' keys, one file a run."""
    return data_dir() / "keys"


def private_dir(path: Path) -> Path:
    """Create ``path`` for this user alone and return it; raises FinetuiError when that can't be done."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise FinetuiError(
            f"can't create {path}",
            cause=error.strerror or str(error),
            remedy="free some space or fix the permissions, or set FINETUI_HOME to a folder that you own",
        ) from error
    return path


def _base(kind: str) -> Path:
    home = os.environ.get("FINETUI_HOME")
    if home:
        return Path(home).expanduser().absolute() / kind
    import platformdirs

    directories = platformdirs.PlatformDirs("finetui", appauthor=False)
    return Path(
        {
            "config": directories.user_config_dir,
            "data": directories.user_data_dir,
            "cache": directories.user_cache_dir,
        }[kind]
    )
