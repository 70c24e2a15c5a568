"""The screens' way to the operations: blocking calls for threads, and events posted as messages.

Everything here runs outside the event loop. Heavy modules are imported when they are first needed, after the
first frame is on the screen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote_agent.protocol import Checkpoint, FileEntry, RunStatus, Sample
from tui import messages
from tui.config import Config
from tui.errors import Unreachable
from tui.screens.asking import asker
from tui.screens.board import SPARK_POINTS, KnownRun
from tui.screens.presets_list import PresetCard, list_presets
from tui.screens.preview import Draft, Preview, draft_data, look_at

if TYPE_CHECKING:
    from presets.check import Machine
    from tui.operations.chat import ChatSession
    from tui.operations.follow import Event, Follower
    from tui.operations.rank_logs import RankLog
    from tui.remote.agent_client import AgentClient
    from tui.remote.ssh_ask import Ask
    from tui.state.spool import LogSpool

Post = Callable[[Any], object]
Connect = Callable[[str], "AgentClient"]
#: Told (bytes done, bytes in all).
OnBytes = Callable[[int, int], None]

#: Metric bytes in one message: parsed on the event loop in about 5 ms.
METRICS_CHUNK_BYTES = 64 * 1024
#: How long an operation waits for a connection that is being made (s).
CONNECT_WAIT_S = 60.0
#: Runs that are followed at once.
MOST_WATCHED = 12
#: Runs of earlier sessions whose sparkline is drawn.
SPARKLINES = 60


class Backend:
    """Follows targets and calls operations for the screens."""

    def __init__(
        self,
        config: Config,
        target: str | None = None,
        *,
        connect: Connect | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``connect`` takes the place of ``targets.connect``: a test brings its own agent and clock."""
        self._clock = clock
        self._config = config
        self._target = target
        self._given_connect = connect
        self._followers: dict[str, Follower] = {}
        self._watched: dict[str, str] = {}
        self._settled: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._ask: Ask | None = None
        self._post: Post = lambda message: None
        self._closed = False

    def start(self, post: Post) -> None:
        """Announce the history, then follow every known target; raises FinetuiError."""
        from tui.operations.targets import known_targets
        from tui.state.history import History

        self._post = post
        entries = History().entries()
        post(messages.HistoryRead(entries))
        chosen = [self._target] if self._target else []
        for target in dict.fromkeys([*chosen, *self._config.targets, *known_targets()]):
            self._follow(target)
        self._read_losses([entry.run for entry in entries[:SPARKLINES]])

    def _read_losses(self, runs: list[str]) -> None:
        from tui.operations.metrics import read_copy

        for run in runs:
            values = [record.get("loss") for record in read_copy(run) if record.get("event") == "log"]
            losses = [value for value in values if isinstance(value, (int, float))]
            if losses:
                self._post(messages.LossesRead(run, losses[:: len(losses) // SPARK_POINTS + 1]))

    def close(self) -> None:
        """Let go of all connections without waiting for them."""
        with self._lock:
            self._closed = True
            followers = list(self._followers.values())
        for follower in followers:
            threading.Thread(target=follower.close, name="finetui close", daemon=True).start()

    def _follow(self, target: str) -> Follower:
        from tui.operations import follow, targets

        with self._lock:
            if target not in self._followers:
                self._settled[target] = threading.Event()
                if self._ask is None:
                    self._ask = asker(self._post)
                connect = self._given_connect or partial(targets.connect, ask=self._ask)
                self._followers[target] = follow.Follower(
                    target, self._take, connect=connect, clock=self._clock
                )
                if not self._closed:
                    self._followers[target].start()
            return self._followers[target]

    def _take(self, event: Event) -> None:
        """Turn an operation's event into a message; called by the followers' threads."""
        from tui.operations import follow

        if isinstance(event, follow.ConnectionChanged):
            settled = self._settled[event.target]
            settled.clear() if event.state == "connecting" else settled.set()
            self._post(messages.LinkChanged(event))
        elif isinstance(event, follow.RunsChanged):
            self._post(messages.RunsListed(event.target, event.runs))
        elif isinstance(event, follow.SampleArrived):
            self._post(messages.SampleTaken(event.target, event.sample))
        elif isinstance(event, follow.LogGrew):
            self._post(messages.LogExtended(event.run, event.size, event.ended))
        else:
            for start in range(0, len(event.data), METRICS_CHUNK_BYTES):
                chunk = event.data[start : start + METRICS_CHUNK_BYTES]
                self._post(messages.MetricsAdded(event.run, event.offset + start, chunk))

    def retry(self) -> None:
        """Try lost connections at once."""
        with self._lock:
            followers = list(self._followers.values())
        for follower in followers:
            if follower.client is None:
                follower.retry()

    def client(self, target: str) -> AgentClient:
        """Return the live connection to a target, waiting for one that is being made; raises Unreachable."""
        with self._lock:
            is_new = target not in self._followers
        follower = self._follow(target)
        if follower.client is None:
            self._settled[target].clear()
            follower.retry()
            self._settled[target].wait(CONNECT_WAIT_S)
        client = follower.client
        if client is None:
            state = follower.state
            if is_new:
                self._drop(target)
            raise Unreachable(f"{target} is not connected", cause=state.reason, remedy=state.remedy)
        return client

    def _drop(self, target: str) -> None:
        """Stop trying a target that was named for one operation and could not be reached."""
        with self._lock:
            follower = self._followers.pop(target, None)
        if follower is not None:
            follower.close()
        self._post(messages.TargetDropped(target))

    # Runs

    def watch(self, target: str, run: str) -> LogSpool:
        """Follow a run's log and metrics; return the log's local copy.

        It is followed on when its screen closes, so that opening it again shows it at once; of many, the ones
        that were opened longest ago are let go.
        """
        with self._lock:
            self._watched.pop(run, None)
            self._watched[run] = target
            old = list(self._watched.items())[:-MOST_WATCHED]
        for other, its_target in old:
            self._unwatch(its_target, other)
        return self._follow(target).watch(run)

    def _unwatch(self, target: str, run: str) -> None:
        with self._lock:
            self._watched.pop(run, None)
        self._follow(target).unwatch(run)

    def stop(self, target: str, run: str, force: bool) -> RunStatus:
        """Stop a run."""
        from tui.operations.stop import stop_run

        return stop_run(self.client(target), run, force=force)

    def resume(self, target: str, run: str, step: int | None) -> RunStatus:
        """Go on with an ended run."""
        from tui.operations.resume import resume_run

        return resume_run(self.client(target), run, step)

    def delete(self, target: str, run: str) -> int:
        """Delete an ended run; return the bytes freed."""
        from tui.operations.delete import delete_run

        self._unwatch(target, run)
        return delete_run(self.client(target), run)

    def checkpoints(self, target: str, run: str) -> list[Checkpoint]:
        """List a run's checkpoints by step."""
        from tui.operations.checkpoints import list_checkpoints

        return list_checkpoints(self.client(target), run)

    def rank_logs(self, target: str, run: str) -> list[RankLog]:
        """List the logs of a run's ranks."""
        from tui.operations.rank_logs import list_rank_logs

        return list_rank_logs(self.client(target), run)

    def copy_rank_log(self, target: str, run: str, log: RankLog, spool: LogSpool | None) -> LogSpool:
        """Bring the copy of a rank's log up to date."""
        from tui.operations.rank_logs import copy_rank_log

        return copy_rank_log(self.client(target), run, log, spool)

    def settings(self, target: str, run: str, live: bool) -> dict[str, Any]:
        """Return the settings that a run was launched with; without a ``live`` target those kept here."""
        from tui.operations.compare import fetch_settings, kept_settings

        kept = kept_settings(run)
        if kept is None and not live:
            raise Unreachable(f"{target} is not connected", cause="its settings were never read")
        return fetch_settings(self.client(target), run) if kept is None else kept

    # Launch

    def presets(self) -> list[PresetCard]:
        """List the presets, the user's own among them."""
        from tui.operations.plan import user_preset_dirs

        return list_presets(user_preset_dirs())

    def look_at(self, draft: Draft, sample: Sample | None) -> Preview:
        """Check a draft and show what it would be; ``sample`` is its machine's, where one is known."""
        return look_at(draft, _machine(sample) if sample else None)

    def launch(self, draft: Draft) -> RunStatus:
        """Launch a draft; the demo brings its own data when none is named."""
        from tui.operations import launch, plan

        client = self.client(draft.target)
        with draft_data(draft) as data:
            return launch.launch(client, plan.make_plan(draft.preset, data, draft.overrides(), draft.mapping))

    def launch_demo(self) -> RunStatus:
        """Launch the demo on this machine."""
        from tui.operations.demo import launch_demo

        return launch_demo(self.client("local"))

    # Chat

    def open_chat(self, known: KnownRun, step: int | str | None, say: Callable[[str], None]) -> ChatSession:
        """Start or find the model server of a checkpoint; ``say`` hears how loading goes."""
        from tui.operations.chat import open_chat
        from tui.state.run_id import split_checkpoint

        run: str = known.run
        wanted: int | str | None = step
        if known.status.kind == "serve":
            run, wanted = split_checkpoint(known.status.parent)

        def heard(status: RunStatus) -> None:
            parts = [status.phase or status.state, status.detail]
            if status.phase_done is not None and status.phase_total:
                parts.append(f"{status.phase_done:.0f} of {status.phase_total:.0f}")
            say(" · ".join(part for part in parts if part))

        return open_chat(self.client(known.target), run, wanted, on_status=heard)

    # Files

    def files(self, target: str, path: str) -> list[FileEntry]:
        """List a folder under the target's state directory."""
        from tui.operations.files import list_files

        return list_files(self.client(target), path)

    def read_file(self, target: str, path: str, max_bytes: int) -> bytes:
        """Read the start of a file."""
        from tui.operations.files import read_file

        return read_file(self.client(target), path, max_bytes)

    def download_file(self, target: str, path: str, to: Path, on_bytes: OnBytes) -> int:
        """Copy a file to this machine; return its size in bytes."""
        from tui.operations.files import download_file

        return download_file(self.client(target), path, to, on_bytes)

    def download_folder(self, target: str, path: str, to: Path, on_bytes: OnBytes) -> int:
        """Copy a folder to this machine; return its size in bytes."""
        from tui.operations.files import download_folder

        return download_folder(self.client(target), path, to, on_bytes)

    def folder_size(self, target: str, path: str) -> tuple[int, int]:
        """Count the files of a folder and their bytes."""
        from tui.operations.files import walk

        sizes = [entry.bytes for _, entry in walk(self.client(target), path)]
        return len(sizes), sum(sizes)

    def delete_checkpoint(self, target: str, run: str, step: int) -> int:
        """Delete a checkpoint of an ended run; return the bytes freed."""
        from tui.operations.checkpoints import delete_checkpoints

        return delete_checkpoints(self.client(target), run, [step])


def _machine(sample: Sample) -> Machine:
    from presets.check import Machine

    gpus = tuple((gpu.name, gpu.vram_total_bytes) for gpu in sample.gpus if gpu.vram_total_bytes)
    free = None
    if sample.disk_total_bytes is not None and sample.disk_used_bytes is not None:
        free = sample.disk_total_bytes - sample.disk_used_bytes
    return Machine(gpus, sample.ram_total_bytes, free, sample.cores)
