"""The logs that torchrun keeps of each rank, copied here as far as they are written."""

from __future__ import annotations

from dataclasses import dataclass

from remote_agent.protocol import FileEntry
from tui.errors import RemoteError
from tui.operations.files import list_files
from tui.paths import private_dir
from tui.remote.agent_client import AgentClient
from tui.remote.transfer import file_size, read_remote
from tui.state.history import History
from tui.state.spool import LogSpool


@dataclass(frozen=True)
class RankLog:
    """One stream of one rank."""

    rank: int
    stream: str
    path: str

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"rank {self.rank} {self.stream}"


def list_rank_logs(client: AgentClient, run: str) -> list[RankLog]:
    """Return the logs of the newest attempt that are not empty, by rank; none where the launcher keeps none.

    torchrun's folders: ``ranks/ID/attempt_N/RANK/{stderr,stdout}.log``. Raises Unreachable.
    """
    path = f"runs/{run}/ranks"
    for _ in range(2):  # the rendezvous, then its attempt
        newest = max(_folders(client, path), key=lambda entry: entry.modified, default=None)
        if newest is None:
            return []
        path = f"{path}/{newest.name}"
    ranks = sorted(int(entry.name) for entry in _folders(client, path) if entry.name.isdigit())
    return [
        RankLog(rank, entry.name.removesuffix(".log"), f"{path}/{rank}/{entry.name}")
        for rank in ranks
        for entry in _entries(client, f"{path}/{rank}")
        if entry.kind == "file" and entry.name in ("stderr.log", "stdout.log") and entry.bytes
    ]


def copy_rank_log(client: AgentClient, run: str, log: RankLog, spool: LogSpool | None = None) -> LogSpool:
    """Bring the copy of a rank's log up to date and return it; raises FinetuiError."""
    if spool is None:
        folder = private_dir(History().folder(run) / "ranks")
        spool = LogSpool(folder / f"{log.rank}.{log.stream}")
    size = file_size(client, log.path)
    if size < spool.size:  # of an earlier attempt
        spool.reset()
    for data in read_remote(client, log.path, spool.size, size):
        spool.feed(spool.size, data)
    return spool


def _folders(client: AgentClient, path: str) -> list[FileEntry]:
    return [entry for entry in _entries(client, path) if entry.kind == "dir" and "/" not in entry.name]


def _entries(client: AgentClient, path: str) -> list[FileEntry]:
    try:
        return list_files(client, path)
    except RemoteError:  # there is no such folder
        return []
