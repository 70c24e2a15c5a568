"""``finetui runs``."""

from __future__ import annotations

import argparse

from remote_agent.protocol import ENDED
from tui.commands.connecting import connect
from tui.commands.output import age, duration, note, number, print_json, table
from tui.commands.progress import status_json
from tui.operations.runs import list_runs
from tui.operations.targets import parse_target
from tui.state.history import HistoryEntry


def runs(arguments: argparse.Namespace) -> int:
    """List the runs of all known targets, or of one; those of a target that is away as last seen."""
    if arguments.on:
        parse_target(arguments.on)
    listing = list_runs([arguments.on] if arguments.on else None, connect)
    if arguments.on and arguments.on in listing.away:
        raise listing.away[arguments.on]
    if arguments.json:
        away = set(listing.away)
        print_json(
            [
                {
                    **status_json(entry.status, entry.target),
                    "age_s": entry.age_s(),
                    "away": entry.target in away,
                }
                for entry in listing.entries
            ]
        )
    elif listing.entries:
        headings = ("RUN", "STATE", "PRESET", "STEP", "LOSS", "ETA", "CREATED", "TARGET")
        print(table(headings, [_row(entry, entry.target in listing.away) for entry in listing.entries]))
    else:
        note("no runs yet; try: finetui demo")
    for target, error in listing.away.items():
        note(f"{target} is away, its runs are as last seen: {error.message}")
    return 0


def _row(entry: HistoryEntry, away: bool) -> tuple[str, ...]:
    status = entry.status
    step = "-" if status.step is None else f"{status.step}/{status.total}"
    kinds = {"serve": "server", "export": "export"}
    name = f"{status.parent} ({kinds[status.kind]})" if status.kind in kinds else status.preset
    eta = "-" if status.eta_s is None or status.state in ENDED else duration(status.eta_s)
    target = f"{entry.target} (seen {age(entry.seen)})" if away else entry.target
    return (
        entry.run,
        status.state,
        name,
        step,
        number(status.loss),
        eta,
        age(status.created or status.started),
        target,
    )
