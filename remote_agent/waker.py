"""Sleep until a child changes, somebody pokes us, or time is up; and collect the dead."""

from __future__ import annotations

import ctypes
import os
import select
import signal
from types import FrameType

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> bool:
    """Make orphans below this process its children, so that none can hide; False where the kernel can't."""
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0


class Waker:
    """Signals as a readable descriptor: SIGCHLD and SIGUSR1 wake, SIGTERM asks to stop."""

    def __init__(self) -> None:
        self.asked_to_stop = False
        self.statuses: dict[int, int] = {}
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake)
        signal.signal(signal.SIGUSR1, _wake)
        signal.signal(signal.SIGTERM, self._ask)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    def wait(self, timeout_s: float) -> None:
        """Return at the next signal, at once when one came since the last wait, or after ``timeout_s``."""
        ready, _, _ = select.select([self._read], [], [], max(0.0, timeout_s))
        if ready:
            os.read(self._read, 4096)

    def reap(self) -> None:
        """Collect every dead child; ``statuses`` holds the wait status of each by pid."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.statuses[pid] = status

    def forget(self) -> None:
        """Drop what was collected: a pid is about to be used for something else."""
        self.reap()
        self.statuses.clear()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked_to_stop = True


def _wake(number: int, frame: FrameType | None) -> None:
    """Do nothing: the wakeup descriptor has said it already."""
