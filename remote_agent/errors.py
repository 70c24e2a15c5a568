"""The one error type of the agent that a client sees; it becomes a JSON-RPC error."""

from __future__ import annotations

from typing import Any

from remote_agent import protocol


class AgentError(Exception):
    """A request was refused or failed; ``code`` is a JSON-RPC code, ``remedy`` says what the user can do."""

    def __init__(self, code: int, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy

    def to_wire(self) -> dict[str, Any]:
        """Return the ``error`` member of a JSON-RPC reply."""
        return {"code": self.code, "message": self.message, "data": {"remedy": self.remedy}}


def from_os_error(error: OSError, doing: str) -> AgentError:
    """Turn an operating system error into a sentence; ``doing`` completes "could not ..."."""
    full = error.errno in _FULL
    remedy = (
        "free some space on the machine: finetui delete RUN, or finetui files TARGET to look" if full else ""
    )
    code = protocol.NO_SPACE if full else protocol.FAILED
    return AgentError(code, f"could not {doing}: {error.strerror or error}", remedy=remedy)


#: ENOSPC and EDQUOT.
_FULL = (28, 122)
