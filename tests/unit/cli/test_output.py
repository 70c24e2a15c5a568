"""Numbers with units for people, and nothing from a far machine that a terminal would obey."""

from __future__ import annotations

import pytest

from remote_agent.protocol import RunStatus
from tui.commands.output import duration, iso, printable, size, table
from tui.commands.progress import describe, progress_printer


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (185, "3 min 5 s"), (7260, "2 h 1 min"), (100000, "1 d 3 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**40, "5.0 TiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_times_are_utc() -> None:
    assert iso(1790000000.7) == "2026-09-21T14:13:20Z"
    assert iso(None) is None


def test_escape_sequences_are_shown_and_not_sent() -> None:
    assert printable("a\x1b[31mb\x07\r\n") == "a\\x1b[31mb\\x07\\r\\n"
    status = RunStatus("R", "failed", message="\x1b]0;title\x07")
    assert "\x1b" not in describe(status)


def test_columns_line_up() -> None:
    assert table(("A", "BB"), [("ccc", "d")]) == "A    BB\nccc  d"


def test_progress_prints_each_phase_at_once_and_numbers_now_and_then() -> None:
    now, lines = 100.0, []
    show = progress_printer(lines.append, lambda: now, every_s=2.0)
    show(
        RunStatus("R", "preparing", phase="environment", detail="torch", phase_done=2**20, phase_total=2**21)
    )
    show(
        RunStatus("R", "preparing", phase="environment", detail="torch", phase_done=2**21, phase_total=2**21)
    )
    for step in range(1, 6):
        now += 1.0
        show(RunStatus("R", "running", phase="training", step=step, total=5, loss=1 / step, eta_s=5.0 - step))
    show(RunStatus("R", "finished", step=5, total=5, loss=0.2, started=0.0, ended=65.0))
    assert lines[0] == "environment  torch  1.0 MiB of 2.0 MiB"
    assert [line.split("  ")[0] for line in lines[1:-1]] == ["step 1/5", "step 3/5", "step 5/5"]
    assert lines[-1] == "finished  step 5/5  loss 0.2  took 1 min 5 s"
