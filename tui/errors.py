"""Errors of the laptop side, each with the exit code of the command line's contract."""

from __future__ import annotations

from presets.errors import FinetuiError, InvalidInput

__all__ = ["CostGuardRefused", "FinetuiError", "InvalidInput", "RemoteError", "Unreachable"]


class RemoteError(FinetuiError):
    """The run or the remote operation failed; ``code`` is the agent's JSON-RPC error code, 0 when unknown."""

    exit_code = 1

    def __init__(self, message: str, *, cause: str = "", remedy: str = "", code: int = 0) -> None:
        super().__init__(message, cause=cause, remedy=remedy)
        self.code = code


class Unreachable(FinetuiError):
    """The target can't be reached."""

    exit_code = 3


class CostGuardRefused(FinetuiError):
    """A guard refused to spend money."""

    exit_code = 4
