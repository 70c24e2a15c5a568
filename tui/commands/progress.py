"""Progress of a run as lines: what it does now, its numbers, its end."""

from __future__ import annotations

import time
from collections.abc import Callable

from remote_agent.protocol import ENDED, RunStatus
from tui.commands.output import duration, number, printable, size

#: Phases that count bytes; the others count what their detail says.
_BYTE_PHASES = frozenset({"environment"})


def status_json(status: RunStatus, target: str) -> dict[str, object]:
    """Return a status as the contract of the command line has it."""
    from tui.commands.output import iso

    return {
        "run": status.run,
        "state": status.state,
        "step": status.step,
        "total": status.total,
        "epoch": status.epoch,
        "loss": status.loss,
        "lr": status.lr,
        "grad_norm": status.grad_norm,
        "eta_s": status.eta_s,
        "tokens_per_s": status.tokens_per_s,
        "started": iso(status.started),
        "target": target,
        "phase": status.phase,
        "kind": status.kind,
        "preset": status.preset,
        "model": status.model,
        "eval_loss": status.eval_loss,
        "detail": status.detail,
        "created": iso(status.created),
        "ended": iso(status.ended),
        "exit_code": status.exit_code,
        "message": status.message,
        "parent": status.parent or None,
        "peak_vram_bytes": status.peak_vram_bytes,
        "unsupervised": status.unsupervised,
    }


def describe(status: RunStatus) -> str:
    """Return one line about a run: its numbers while it trains, else what it does."""
    if status.state in ENDED:
        return _ending(status)
    if status.state == "stopping":
        return f"stopping  {printable(status.detail or status.phase)}".rstrip()
    if status.phase == "training" and status.step is not None:
        return _numbers(status)
    parts = [status.phase or status.state, printable(status.detail), _amount(status)]
    return "  ".join(part for part in parts if part)


def progress_printer(
    out: Callable[[str], None], clock: Callable[[], float] = time.monotonic, every_s: float = 2.0
) -> Callable[[RunStatus], None]:
    """Return a function that prints what changed: each phase at once, numbers every few seconds."""
    last_line, last_phase, last_at = "", ("", ""), 0.0

    def show(status: RunStatus) -> None:
        nonlocal last_line, last_phase, last_at
        line, phase, now = describe(status), (status.state, status.phase), clock()
        if line == last_line or (phase == last_phase and now - last_at < every_s):
            return
        last_line, last_phase, last_at = line, phase, now
        out(line)

    return show


def _numbers(status: RunStatus) -> str:
    parts = [f"step {status.step}/{status.total}"]
    if status.loss is not None:
        parts.append(f"loss {number(status.loss)}")
    if status.lr is not None:
        parts.append(f"lr {number(status.lr, 3)}")
    if status.grad_norm is not None:
        parts.append(f"grad norm {number(status.grad_norm, 3)}")
    if status.tokens_per_s is not None:
        parts.append(f"{number(status.tokens_per_s)} tokens/s")
    if status.eta_s is not None:
        parts.append(f"ETA {duration(status.eta_s)}")
    return "  ".join(parts)


def _ending(status: RunStatus) -> str:
    parts = [status.state]
    if status.step is not None:
        parts.append(f"step {status.step}/{status.total}")
    if status.loss is not None:
        parts.append(f"loss {number(status.loss)}")
    if status.started is not None and status.ended is not None:
        parts.append(f"took {duration(status.ended - status.started)}")
    if status.message:
        parts.append(printable(status.message))
    return "  ".join(parts)


def _amount(status: RunStatus) -> str:
    if status.phase_done is None:
        return ""
    if status.phase in _BYTE_PHASES:
        total = f" of {size(status.phase_total)}" if status.phase_total else ""
        return f"{size(status.phase_done)}{total}"
    total = f"/{status.phase_total:g}" if status.phase_total else ""
    return f"{status.phase_done:g}{total}"
