"""``finetui status RUN``."""

from __future__ import annotations

import argparse

from remote_agent.protocol import ENDED, RunStatus
from tui.commands.connecting import connect
from tui.commands.output import age, duration, note, number, print_json, printable, size
from tui.commands.progress import status_json
from tui.errors import RemoteError, Unreachable
from tui.operations.runs import resolve
from tui.operations.status import get_status, last_known


def status(arguments: argparse.Namespace) -> int:
    """Print state and numbers; of a target that is away the last known ones, with exit code 3."""
    found = resolve(arguments.run, arguments.on, connect)
    try:
        with connect(found.target) as client:
            _show(get_status(client, found.run), found.target, arguments.json, None)
        return 0
    except (Unreachable, RemoteError) as error:
        known = last_known(found.run)
        if known is None or not isinstance(error, Unreachable):
            raise
        _show(known.status, found.target, arguments.json, known.age_s())
        note(f"{error}\nthis is what was known {duration(known.age_s())} ago")
        return error.exit_code


def _show(status: RunStatus, target: str, as_json: bool, age_s: float | None) -> None:
    if as_json:
        print_json(status_json(status, target) | ({} if age_s is None else {"age_s": age_s}))
        return
    for name, value in _fields(status, target):
        print(f"{name:10}  {value}")


def _fields(status: RunStatus, target: str) -> list[tuple[str, str]]:
    fields = [("run", status.run), ("state", status.state), ("target", target), ("preset", status.preset)]
    if status.model:
        fields.append(("model", printable(status.model)))
    if status.parent:
        fields.append(("serves", status.parent))
    phase = " ".join(part for part in (status.phase, printable(status.detail)) if part)
    if phase and status.state not in ENDED:
        since = f", since {age(status.phase_started)}" if status.phase_started else ""
        fields.append(("phase", f"{phase}{since}"))
    if status.step is not None:
        fields.append(("step", f"{status.step} of {status.total}, epoch {number(status.epoch, 3)}"))
        fields.append(("loss", number(status.loss)))
        fields.append(("lr", number(status.lr, 3)))
        fields.append(("grad norm", number(status.grad_norm, 3)))
        fields.append(
            ("speed", f"{number(status.tokens_per_s)} tokens/s, {number(status.s_per_step, 3)} s/step")
        )
    if status.eval_loss is not None:
        fields.append(("eval loss", number(status.eval_loss)))
    if status.eta_s is not None and status.state not in ENDED:
        fields.append(("ETA", duration(status.eta_s)))
    if status.peak_vram_bytes:
        fields.append(("peak VRAM", size(status.peak_vram_bytes)))
    if status.started is not None:
        fields.append(("started", age(status.started)))
    if status.ended is not None:
        fields.append(("ended", age(status.ended)))
    if status.unsupervised:
        fields.append(("note", "its supervisor died; the job goes on"))
    if status.message:
        fields.append(("message", printable(status.message)))
    return fields
