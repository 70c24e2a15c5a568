"""All runs of all targets, and the one that a user means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from remote_agent.protocol import ProtocolError, RunStatus, from_wire
from tui.errors import FinetuiError, InvalidInput, RemoteError, Unreachable
from tui.operations.targets import connect, known_targets
from tui.remote.agent_client import AgentClient
from tui.state.history import History, HistoryEntry
from tui.state.run_id import is_run_id, split_checkpoint

#: How a target is reached: ``tui.operations.targets.connect``, or that with somebody to ask.
Connect = Callable[[str], AgentClient]


@dataclass(frozen=True)
class RunRef:
    """A run, the target it lives on, and the step that was named: a number, ``base`` or None."""

    run: str
    target: str
    step: int | str | None = None


@dataclass(frozen=True)
class RunsListing:
    """Runs, newest first; ``away`` maps a target that could not be asked to the reason.

    Runs of such a target are shown as they were last seen.
    """

    entries: tuple[HistoryEntry, ...]
    away: dict[str, FinetuiError]


def fetch_runs(client: AgentClient) -> list[RunStatus]:
    """Return the runs of one target and remember them; raises RemoteError, Unreachable."""
    result = client.request("run.list")
    if not isinstance(result, list):
        raise RemoteError("the agent's list of runs is malformed")
    runs = [parse_status(item) for item in result]
    history = History()
    for status in runs:
        history.remember(client.target, status)
    return runs


def list_runs(targets: Iterable[str] | None = None, connect: Connect = connect) -> RunsListing:
    """Ask all known targets, or the given ones, for their runs."""
    chosen = list(targets) if targets is not None else known_targets()
    away: dict[str, FinetuiError] = {}
    live: set[str] = set()
    for target in chosen:
        try:
            with connect(target) as client:
                live |= {status.run for status in fetch_runs(client)}
        except (Unreachable, RemoteError) as error:
            away[target] = error
    entries = [entry for entry in History().entries() if entry.run in live or entry.target in away]
    return RunsListing(tuple(entries), away)


def parse_status(data: object) -> RunStatus:
    """Read a status off the wire; raises RemoteError."""
    try:
        status = from_wire(RunStatus, data)
    except ProtocolError as error:
        raise RemoteError("the agent's answer is malformed", cause=str(error)) from error
    if not is_run_id(status.run):
        raise RemoteError("the agent's answer is malformed", cause=f"run id {status.run!r}")
    return status


def resolve(text: str, on: str | None = None, connect: Connect = connect) -> RunRef:
    """Find the run that ``RUN`` or ``RUN@STEP`` names by its id, or by a unique beginning or end of it.

    The target is ``on``, else the one in this laptop's history; for a run never seen here the known targets
    are asked.
    Raises InvalidInput when nothing or more than one run matches.
    """
    name, step = split_checkpoint(text.strip())
    wanted = name.upper()
    entries = [entry for entry in History().entries() if on is None or entry.target == on]
    found = _matching(wanted, entries)
    if not found:
        listing = list_runs([on] if on is not None else None, connect)
        found = _matching(wanted, listing.entries)
        if on is not None and on in listing.away:
            raise listing.away[on]
    if len(found) == 1:
        return RunRef(found[0].run, found[0].target, step)
    if not found:
        raise InvalidInput(
            f"there is no run {name!r}",
            cause="it is neither in this laptop's history nor on a known target",
            remedy="list them with: finetui runs; name its machine with --on TARGET",
        )
    names = ", ".join(entry.run for entry in found[:4])
    raise InvalidInput(f"{name!r} may be any of {names}", remedy="write more of the id")


def _matching(wanted: str, entries: Iterable[HistoryEntry]) -> list[HistoryEntry]:
    if not wanted:
        return []
    entries = list(entries)
    exact = [entry for entry in entries if entry.run == wanted]
    return exact or [entry for entry in entries if entry.run.startswith(wanted) or entry.run.endswith(wanted)]
