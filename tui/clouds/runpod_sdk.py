"""The `runpod` package: imported late and kept from touching the terminal, its failures made ours."""

from __future__ import annotations

import logging
import threading
from typing import Any

from tui.clouds.errors import CloudUnreachable
from tui.clouds.runpod_account import ApiKey
from tui.clouds.runpod_texts import explain, wrong_key
from tui.errors import FinetuiError, InvalidInput

_import_lock = threading.Lock()


class Sdk:
    """The SDK's functions for one account; blocking, up to 30 s a call, nothing is tried twice.

    The import takes 2 s the first time: make it in a worker thread.
    """

    def __init__(self, key: ApiKey) -> None:
        self._key = key
        self._runpod: Any = load()

    def query(self, text: str, doing: str = "answer") -> Any:
        """Run a GraphQL query and return the whole answer; raises FinetuiError."""
        from runpod.api.graphql import run_graphql_query

        answer = self._guarded(doing, run_graphql_query, text, self._key.reveal())
        if not isinstance(answer, dict) or "data" not in answer:
            raise _unanswered(doing, "an answer without data")
        return answer

    def call(self, function: str, *arguments: Any, doing: str) -> Any:
        """Call one of the SDK's own functions; those that change pods know the key as a global only."""
        with _import_lock:
            before, self._runpod.api_key = self._runpod.api_key, self._key.reveal()
            try:
                return self._guarded(doing, getattr(self._runpod, function), *arguments)
            finally:
                self._runpod.api_key = before

    def _guarded(self, doing: str, function: Any, *arguments: Any) -> Any:
        import requests
        from runpod.error import AuthenticationError, QueryError

        try:
            return function(*arguments)
        except AuthenticationError as error:
            raise wrong_key(str(error)) from None
        except QueryError as error:
            # Without its chain: the error holds the query, and with it the pod's environment.
            raise explain(str(error), doing) from None
        except requests.exceptions.JSONDecodeError as error:
            raise _unanswered(doing, "its answer is not JSON") from error
        except requests.RequestException as error:
            raise _unanswered(doing, type(error).__name__ + _first_line(error)) from error
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            # What the SDK trips over when the answer lacks what it expects.
            raise _unanswered(doing, f"an answer of an unexpected shape ({type(error).__name__})") from error


def load() -> Any:
    """Import the SDK, leaving the root logger as it was; raises InvalidInput when it is not installed."""
    with _import_lock:
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        # With a handler in place the SDK's basicConfig, which would paint over the app, does nothing.
        shield = logging.NullHandler()
        root.addHandler(shield)
        try:
            import runpod
        except ImportError as error:
            raise InvalidInput(
                "RunPod's SDK is not installed",
                cause=str(error),
                remedy="pip install 'finetui[runpod]', or set runpod_api = \"v2\" in config.toml",
            ) from error
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
    return runpod


def _unanswered(doing: str, cause: str) -> FinetuiError:
    return CloudUnreachable(
        f"RunPod did not {doing}", cause=cause, remedy="check the network and status.runpod.io, and try again"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f": {lines[0][:200]}" if lines else ""
