"""What the app knows of targets and runs; changed on the event loop only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from remote_agent.protocol import ENDED, RunStatus, Sample
from tui.state.connection import ConnectionChanged

if TYPE_CHECKING:
    from tui.state.metrics import Metrics

#: Points of the loss sparkline that are kept a run; far more than any table cell shows.
SPARK_POINTS = 240


@dataclass
class KnownRun:
    """The newest status of a run; ``seen`` is when it was said, on the monotonic clock."""

    target: str
    status: RunStatus
    seen: float
    losses: list[float] = field(default_factory=list)
    last_step: int = -1
    #: When the step last changed, or when the run was first seen, on the monotonic clock.
    moved: float = 0.0

    def __post_init__(self) -> None:
        self.moved = self.seen

    @property
    def run(self) -> str:
        """The run's id."""
        return self.status.run

    @property
    def active(self) -> bool:
        """True until the run has ended."""
        return self.status.state not in ENDED

    def take(self, status: RunStatus, now: float) -> None:
        """Replace the status and extend the sparkline."""
        if status.step != self.status.step or status.phase != self.status.phase:
            self.moved = now
        self.status = status
        self.seen = now
        if status.loss is not None and status.step is not None and status.step != self.last_step:
            if status.step < self.last_step:
                self.losses.clear()
            self.last_step = status.step
            self.losses.append(status.loss)
            if len(self.losses) > SPARK_POINTS:
                del self.losses[::2]


class Board:
    """Runs by id, connections and gauges by target."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.runs: dict[str, KnownRun] = {}
        self.links: dict[str, ConnectionChanged] = {}
        self.samples: dict[str, tuple[Sample, float]] = {}
        self._metrics: dict[str, Metrics] = {}

    def remember(self, target: str, status: RunStatus, age_s: float) -> None:
        """Add a run from the history on disk, unless something newer is known."""
        if status.run not in self.runs:
            known = KnownRun(target, status, self._clock() - age_s)
            known.take(status, known.seen)
            self.runs[status.run] = known

    def remember_losses(self, run: str, losses: list[float]) -> None:
        """Draw the sparkline of a run that was followed in an earlier session."""
        known = self.runs.get(run)
        if known is not None and len(known.losses) < len(losses):
            known.losses = losses

    def metrics_of(self, run: str) -> Metrics:
        """Return the series of a run, empty until it is watched; always the same object."""
        # Imported here: msgspec costs the first frame 10 ms.
        from tui.state.metrics import Metrics

        return self._metrics.setdefault(run, Metrics())

    def take_metrics(self, run: str, offset: int, data: bytes) -> None:
        """Take more of a run's metrics.jsonl; from byte 0 again, what was known is void."""
        metrics = self.metrics_of(run)
        if offset == 0 and metrics.size:
            metrics.clear()
        metrics.feed(offset, data)

    def list_runs(self, target: str, statuses: Iterable[RunStatus]) -> list[KnownRun]:
        """Take the full list of a target: what it has no more is dropped.

        Return the trainings that were seen going and have ended now.
        """
        now = self._clock()
        present = set()
        ended = []
        for status in statuses:
            present.add(status.run)
            known = self.runs.get(status.run)
            if known is None:
                known = self.runs[status.run] = KnownRun(target, status, now)
            known.target = target
            if known.active and status.state in ENDED and status.kind == "train":
                ended.append(known)
            known.take(status, now)
        gone = [run for run, known in self.runs.items() if known.target == target and run not in present]
        for run in gone:
            del self.runs[run]
        return ended

    def launched(self, target: str, status: RunStatus) -> KnownRun:
        """Add a run that was launched just now, before its target lists it; return what is known of it."""
        if status.run not in self.runs:
            self.runs[status.run] = KnownRun(target, status, self._clock())
        return self.runs[status.run]

    def take_sample(self, target: str, sample: Sample) -> None:
        """Replace a target's gauges."""
        self.samples[target] = (sample, self._clock())

    def newest_first(self) -> list[KnownRun]:
        """Return the runs to list: all trainings, and model servers while they live."""
        shown = [known for known in self.runs.values() if known.status.kind == "train" or known.active]
        return sorted(shown, key=lambda known: (known.status.created or 0.0, known.run), reverse=True)

    def active_runs(self) -> list[KnownRun]:
        """Return the runs that go on without us."""
        return [known for known in self.newest_first() if known.active]

    def stale(self, known: KnownRun) -> bool:
        """Tell whether the target of a run is away, so that its status has an age."""
        link = self.links.get(known.target)
        return link is None or link.state != "live"

    def age_s(self, known: KnownRun) -> float:
        """Return how old the status of a run is, in seconds; 0 while the target is connected."""
        return max(0.0, self._clock() - known.seen) if self.stale(known) else 0.0
