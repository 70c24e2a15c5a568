"""The head of the run screen as text: state, phase, progress, speed, and what is wrong in words."""

from __future__ import annotations

from textual.content import Content

from tui.screens.board import KnownRun
from tui.screens.findings import lines_of
from tui.screens.phase import phase_text
from tui.screens.wording import duration, number, one_line, rate, steps
from tui.state.anomalies import Finding
from tui.theme import colour_of, mark

#: Lines of the head that say what is wrong; the style sheet gives no more.
TROUBLE_LINES = 3


def heading(known: KnownRun, ascii_only: bool) -> Content:
    """Return the title line: state, preset, model, id, machine."""
    status = known.status
    return Content.assemble(
        (f"{mark(status.state, ascii_only)} {status.state}", f"bold ${colour_of(status.state)}"),
        f"  {status.preset}  ",
        (f"{known.run} on {known.target}", "$text-muted"),
    )


def bar(share: float, width: int, ascii_only: bool) -> str:
    """Return a bar of ``width`` cells, filled by ``share``."""
    full, empty = ("#", ".") if ascii_only else ("━", "─")
    filled = round(max(0.0, min(1.0, share)) * width)
    return full * filled + empty * (width - filled)


def progress(known: KnownRun, width: int, age_s: float | None, now_wall: float, ascii_only: bool) -> Content:
    """Return two lines: the bar with step, epoch and ETA; phase and speed. ``age_s`` is that of old data."""
    status = known.status
    share = status.step / status.total if status.step is not None and status.total else None
    words = [f"{share:.0%}"] if share is not None else []
    if status.step is not None:
        words.append(f"step {steps(status.step, status.total)}")
    if status.epoch is not None:
        words.append(f"epoch {status.epoch:.2f}")
    if known.active and status.eta_s is not None:
        words.append(f"ETA {duration(status.eta_s)}")
    elif status.ended and status.started:
        words.append(f"took {duration(status.ended - status.started)}")
    text = " · ".join(words) or "not training yet"
    room = max(0, width - len(text) - 1)
    first = Content.assemble(
        (bar(share or 0.0, room, ascii_only), f"${colour_of(status.state)}"), " " if room else "", text
    )
    return Content("\n").join([first, _second(known, age_s, now_wall)])


def _second(known: KnownRun, age_s: float | None, now_wall: float) -> Content:
    status = known.status
    parts = []
    if age_s is not None:
        parts.append(f"as of {duration(age_s)} ago")
    if known.active:
        parts.append(phase_text(known, now_wall) or status.state)
    if status.loss is not None:
        parts.append(f"loss {number(status.loss)}")
    if known.active and status.tokens_per_s:
        parts.append(rate(status.tokens_per_s))
    if known.active and status.s_per_step:
        parts.append(f"{number(status.s_per_step, 3)} s/step")
    if status.unsupervised:
        parts.append("its supervisor is gone; the job goes on")
    return Content(" · ".join(parts))


def trouble(known: KnownRun) -> str:
    """Return in words what is wrong with a run; empty when nothing is."""
    status = known.status
    if status.state == "failed":
        return one_line(status.message) or f"failed with exit code {status.exit_code}"
    if status.state == "lost":
        return one_line(status.message) or "the machine restarted or the job vanished; resume it with r"
    return one_line(status.message) if known.active else ""


def troubles(known: KnownRun, found: list[Finding]) -> Content:
    """Return a line for what is wrong, and for each thing that looks wrong, three at most."""
    lines = [Content.styled(trouble(known), "bold $error")] if trouble(known) else []
    return Content("\n").join([*lines, *lines_of(found, TROUBLE_LINES - len(lines))])
