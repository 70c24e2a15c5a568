"""The GPUs of one attempt at a run: what NCCL needs told, who used them before, what is left on them."""

from __future__ import annotations

from collections.abc import Callable

from remote_agent import gpu_processes, gpus, job_environment
from remote_agent.identity import Proc


class GpuLedger:
    """Made empty; ``open`` looks before the first step, ``held`` after the last."""

    def __init__(self) -> None:
        #: Names of cards on which NCCL must not try peer-to-peer.
        self.cards: list[str] = []
        #: Pids that held GPU memory before; None when nobody looked.
        self._before: frozenset[int] | None = None

    def open(self, say: Callable[[str], None]) -> None:
        """Look at the cards and at who holds their memory; ``say`` is told what jobs are told."""
        if not job_environment.has_gpu():
            return
        try:
            self._before = frozenset(process.pid for process in gpu_processes.look())
            self.cards = job_environment.without_peer_to_peer(gpu.name for gpu in gpus.reader()())
        except gpus.GpuError:
            return  # the job will say it better
        if self.cards:
            names, variables = ", ".join(self.cards), "=1 and ".join(job_environment.NO_PEER_TO_PEER)
            say(f"{names} has no peer-to-peer: {variables}=1 are set")

    def held(self, cookie: str, proc: Proc, *, others_live: Callable[[], bool]) -> str:
        """Return who holds GPU memory that the run has left, "" for nobody."""
        if self._before is None or not job_environment.has_gpu():
            return ""
        found = gpu_processes.left_by_run(cookie, self._before, others_live=others_live(), proc=proc)
        return ", ".join(gpu_processes.describe(process, proc) for process in found)
