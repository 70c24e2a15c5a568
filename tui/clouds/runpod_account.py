"""The account: its API key, which stays on this machine, and where the API is."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from urllib.parse import urlsplit

from tui.clouds.base import PodRequest
from tui.clouds.errors import NoKey, NoSuchPod, Rejected
from tui.clouds.runpod_texts import KEYS_PAGE
from tui.errors import InvalidInput
from tui.paths import config_dir

API_BASE = "https://api.runpod.io"


class ApiKey:
    """A secret that does not show itself in reprs, logs and tracebacks."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the key itself, for the one header that it belongs in."""
        return self._text

    def __repr__(self) -> str:
        return "ApiKey(...)"


def key_file() -> Path:
    """Return the file that may hold the key."""
    return config_dir() / "runpod.key"


def load_key() -> ApiKey:
    """Return the key from RUNPOD_API_KEY, else from the key file; raises NoKey, InvalidInput."""
    text = os.environ.get("RUNPOD_API_KEY", "").strip() or _read(key_file())
    if not text:
        raise NoKey(
            "there is no RunPod API key",
            cause=f"RUNPOD_API_KEY is not set and {key_file()} is not there",
            remedy=f"make one at {KEYS_PAGE} and write it to that file (chmod 600), or set RUNPOD_API_KEY",
        )
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise NoKey("the RunPod API key is malformed", remedy="copy it again: one word, no spaces or quotes")
    return ApiKey(text)


def api_base() -> str:
    """Return the API's address, RUNPOD_API_BASE_URL where that is set; raises InvalidInput."""
    base = os.environ.get("RUNPOD_API_BASE_URL", API_BASE).rstrip("/")
    parts = urlsplit(base)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise InvalidInput(
            f"RUNPOD_API_BASE_URL is {base!r}",
            cause="the API key would travel without encryption",
            remedy="use an https address, or unset it",
        )
    return base


def checked_id(pod: str) -> str:
    """Return a pod's id that is safe in a path and in the SDK's queries, which escape nothing.

    Raises NoSuchPod.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", pod):
        raise NoSuchPod(f"{pod!r} is not the id of a pod", remedy="see finetui pods list")
    return pod


def _read(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"can't read {path}", cause=str(error), remedy="fix or remove the file") from error
    if mode & 0o077:
        raise InvalidInput(
            f"others can read {path}", cause=f"its mode is {mode:o}", remedy=f"chmod 600 {path}"
        )
    return text


def refuse_key_in(request: PodRequest, key: ApiKey) -> None:
    """Raise Rejected when the account's key is about to be sent into a pod."""
    if any(key.reveal() in value for value in request.env.values()):
        raise Rejected(
            "the account's API key must not go to a pod",
            cause="it is the value of an environment variable",
            remedy="take it out; the provider gives each pod a key of its own",
        )
