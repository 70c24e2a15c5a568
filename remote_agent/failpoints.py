"""Named places at which a test can kill a role, as exactly as the fault matrix needs."""

from __future__ import annotations

import os
import signal

#: In relay and agentd while one build takes over from another, in the launcher (agentd), and in the
#: supervisor; each group in the order in which they are passed.
NAMES = (
    "handover-before-leave",
    "handover-after-leave",
    "agentd-before-bind",
    "agentd-before-ready",
    "launch-after-mkdir",
    "launch-after-spec",
    "launch-after-start",
    "launch-after-ready",
    "supervise-before-proc",
    "supervise-after-fork",
    "supervise-running",
    "supervise-grace",
    "supervise-sweep",
    "supervise-before-exit",
    "supervise-after-exit",
)


def reached(name: str) -> None:
    """Die at once, as from kill -9, when ``FINETUI_FAILPOINT`` names this place."""
    if os.environ.get("FINETUI_FAILPOINT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
