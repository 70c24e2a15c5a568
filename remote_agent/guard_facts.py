"""What the guard sees when it looks at the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from remote_agent import attendance, gpus, results, volume
from remote_agent.guard_config import GuardConfig
from remote_agent.guard_rules import Facts
from remote_agent.places import Places
from remote_agent.protocol import ENDED, RunStatus
from remote_agent.runs import RunDirectory
from remote_agent.watch import RunsScan

#: A desktop or a monitor on the card uses a little.
BUSY_PERCENT = 5.0
#: nvidia-smi takes up to a second of processor time.
BUSY_EVERY_S = 10.0
#: A walk over a network volume to learn how full it is costs its file server something.
DISK_EVERY_S = 120.0


@dataclass
class Memory:
    """What a look needs of the looks before it; times in seconds since the guard was armed."""

    #: Ends that were known already, as RUN:WHEN; None before the first look.
    known_ends: set[str] | None = None
    ended: tuple[str, str, float] | None = None
    idle_since: float | None = None
    detached_since: float = 0.0
    low_disk_since: float | None = None
    free_bytes: int | None = None
    disk_due: float = 0.0
    busy_due: float = 0.0


def gpus_busy() -> bool:
    """Say whether any GPU computes; one that can't be asked counts as idle."""
    try:
        found = gpus.reader()()
    except gpus.GpuError:
        return False
    return any((gpu.util_percent or 0.0) >= BUSY_PERCENT for gpu in found)


@dataclass
class Observer:
    """Looks at runs, GPUs, disk and connections."""

    places: Places
    scan: RunsScan
    memory: Memory = field(default_factory=Memory)
    busy: Callable[[], bool] = gpus_busy

    def look(self, config: GuardConfig, t: float) -> Facts:
        """Return what is seen at ``t`` seconds after arming; touches the disk."""
        runs = self.scan.look()
        live = tuple(run.run for run in runs if run.state not in ENDED)
        self._note_ends([run for run in runs if run.state in ENDED], live, t)
        self._note_idleness(config, bool(live), t)
        self._note_disk(config, t)
        attached = attendance.is_attached(self.places)
        if attached:
            self.memory.detached_since = t
        return Facts(
            t=t,
            live=live,
            attached=attached,
            detached_since=self.memory.detached_since,
            idle_since=self.memory.idle_since,
            ended=self.memory.ended,
            free_bytes=self.memory.free_bytes,
            low_disk_since=self.memory.low_disk_since,
        )

    def with_safety(self, facts: Facts) -> Facts:
        """Look again at the runs, and at where their results are: only when something is about to be done."""
        runs = self.scan.look()
        live = tuple(run.run for run in runs if run.state not in ENDED)
        ended = [run for run in runs if run.state in ENDED]
        directories = [RunDirectory(self.places.runs / run.run) for run in ended]
        unsafe = tuple(directory.run for directory in directories if not results.is_safe(directory))
        survives = volume.mount_of(self.places.state) != volume.mount_of(volume.ROOT)
        return replace(facts, live=live, unsafe=unsafe, survives_stop=survives)

    def _note_ends(self, ended: list[RunStatus], live: tuple[str, ...], t: float) -> None:
        ends = {f"{run.run}:{run.ended}": run for run in ended}
        before = self.memory.known_ends
        fresh = [] if before is None else [run for key, run in ends.items() if key not in before]
        self.memory.known_ends = set(ends)
        if live:
            self.memory.ended = None
        # One that the user stopped calls for nothing: whoever did it is there.
        for run in fresh:
            if run.kind == "train" and run.state != "stopped" and not live:
                self.memory.ended = (run.run, "finished" if run.state == "finished" else "failed", t)

    def _note_idleness(self, config: GuardConfig, live: bool, t: float) -> None:
        if live or config.idle_s is None:
            self.memory.idle_since = None
        elif t >= self.memory.busy_due:
            self.memory.busy_due = t + min(BUSY_EVERY_S, config.idle_s / 10)
            since = self.memory.idle_since
            self.memory.idle_since = None if self.busy() else t if since is None else since

    def _note_disk(self, config: GuardConfig, t: float) -> None:
        if config.min_free_bytes is None or t < self.memory.disk_due:
            return
        space = volume.space(self.places.state, size_bytes=config.volume_bytes)
        self.memory.disk_due = t + DISK_EVERY_S
        self.memory.free_bytes = space.free if space is not None else None
        if self.memory.free_bytes is None or self.memory.free_bytes >= config.min_free_bytes:
            self.memory.low_disk_since = None
        elif self.memory.low_disk_since is None:
            self.memory.low_disk_since = t
