"""Status is derived from what is there; half-written and stale files do not fool it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from remote_agent import metrics_tail
from remote_agent.conclusion import Outcome, last_exception, state_of
from remote_agent.identity import Proc
from remote_agent.job_environment import expand, inherited
from remote_agent.places import Places
from remote_agent.runs import RunDirectory
from remote_agent.status import status


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / "state", tmp_path / "runtime", tmp_path / "environments")
    places.create()
    return places


def make_run(places: Places, *, boot: str | None = None, age_s: float = 0.0, **files: object) -> RunDirectory:
    directory = RunDirectory(places.runs / "r1")
    directory.path.mkdir()
    spec = {
        "kind": "train",
        "preset": "demo",
        "boot": boot or Proc().boot(),
        "created_boottime_s": time.clock_gettime(time.CLOCK_BOOTTIME) - age_s,
    }
    directory.spec.write_text(json.dumps(spec))
    for name, value in files.items():
        (directory.path / f"{name}.json").write_text(json.dumps(value))
    return directory


def record(boot: str | None = None, offset: int = 0) -> dict[str, object]:
    dead = {"pid": 2**22 + 5, "start_ticks": 1, "boot": boot or Proc().boot()}
    return {"attempt": 1, "supervisor": dead, "job": dead, "metrics_offset": offset}


def test_a_run_of_another_boot_is_lost_and_says_so(places: Places) -> None:
    make_run(places, proc=record(boot="another"))
    found = status(places, "r1")
    assert found.state == "lost"
    assert "restarted" in found.message


def test_a_run_whose_processes_are_gone_is_lost(places: Places) -> None:
    make_run(places, proc=record())
    assert status(places, "r1").state == "lost"


def test_a_young_run_without_a_supervisor_is_preparing_and_an_old_one_lost(places: Places) -> None:
    directory = make_run(places, age_s=5)
    assert status(places, "r1").state == "preparing"
    directory.spec.write_text(directory.spec.read_text().replace("created_boottime_s", "no_age"))
    assert status(places, "r1").state == "lost"


def test_the_exit_document_is_the_last_word(places: Places) -> None:
    ended = {"state": "stopped", "code": 0, "message": "", "ended": 5.0}
    make_run(places, proc=record(boot="another"), exit=ended)
    found = status(places, "r1")
    assert (found.state, found.exit_code, found.ended) == ("stopped", 0, 5.0)


def test_values_of_the_wrong_type_are_left_out(places: Places) -> None:
    directory = make_run(places, proc=record(), phase={"phase": 3, "done": "x"})
    directory.metrics.write_text(
        '{"event":"log","step":"two","loss":null,"lr":true,"peak_vram_bytes":[1,"x",3]}\n'
    )
    found = status(places, "r1")
    assert (found.step, found.loss, found.lr, found.phase, found.peak_vram_bytes) == (None, None, None, "", 3)


def test_numbers_are_those_of_this_attempt(places: Places) -> None:
    first = '{"event":"begin","step":0,"total":9}\n{"event":"log","step":5,"total":9,"loss":1.0}\n'
    directory = make_run(places, proc=record(offset=len(first)))
    directory.metrics.write_text(first + '{"event":"begin","step":3,"total":9,"attempt":2}\n')
    found = status(places, "r1")
    assert (found.step, found.total, found.loss) == (3, 9, None)


def test_the_tail_is_whole_whatever_the_cut(tmp_path: Path) -> None:
    """A reader meets a file at any moment of a write."""
    path = tmp_path / "metrics.jsonl"
    last = b'{"event":"log","step":3,"loss":0.25}\n'
    for cut in range(len(last) + 1):
        path.write_bytes(b'{"event":"log","step":2,"loss":0.5}\n' + last[:cut])
        numbers = metrics_tail.newest_numbers(path, 0)
        assert (numbers["step"], numbers["loss"]) == ((3, 0.25) if cut == len(last) else (2, 0.5))


def test_the_tail_of_a_long_file_crosses_blocks(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"event": "log", "step": step, "pad": "x" * 500}) for step in range(1000)]
    path.write_text("\n".join(lines) + "\n")
    found = [item["step"] for item in metrics_tail.newest_first(path)]
    assert found == list(range(999, -1, -1))


def test_a_line_of_many_megabytes_costs_no_more_than_the_tail(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"event":"log","step":1}\n' + b"x" * (4 * metrics_tail.MAX_TAIL_BYTES))
    assert list(metrics_tail.newest_first(path)) == []


def test_broken_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"event":"log","step":1,"loss":2.0}\n\x00\x00\n{"step":2}{"step":3}\n[]\n\xff\n')
    assert metrics_tail.newest_numbers(path, 0)["step"] == 1


def test_a_begin_supersedes_the_later_steps_of_earlier_attempts(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    records = [
        {"event": "begin", "step": 0},
        *({"event": "log", "step": step, "loss": float(step)} for step in (1, 2, 3)),
        {"event": "begin", "step": 2, "attempt": 2},
        {"event": "log", "step": 3, "loss": 9.0},
        {"event": "eval", "step": 3, "eval_loss": 8.0},
    ]
    path.write_text("".join(json.dumps(item) + "\n" for item in records))
    assert metrics_tail.losses_by_step(path) == {
        1: {"loss": 1.0},
        2: {"loss": 2.0},
        3: {"loss": 9.0, "eval_loss": 8.0},
    }


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("ValueError: bad template\n", "ValueError: bad template"),
        ("[rank1]:   torch.OutOfMemoryError: CUDA\n\x1b[31mother\x1b[0m\n", "torch.OutOfMemoryError: CUDA"),
        ("KeyError: 'a'\nsubprocess.CalledProcessError: Command\n", "KeyError: 'a'"),
        ("an Error: in a sentence\nall good\n", ""),
        ("", ""),
    ],
)
def test_the_last_exception_of_a_log(tmp_path: Path, log: str, expected: str) -> None:
    (tmp_path / "log").write_text(log)
    assert last_exception(tmp_path / "log") == expected


@pytest.mark.parametrize(
    ("outcome", "stop_asked", "end", "state"),
    [
        (Outcome(code=0), False, True, "finished"),
        (Outcome(code=0), True, False, "stopped"),
        (Outcome(code=1), True, False, "failed"),
        (Outcome(code=1, ended_by_us=True), True, False, "stopped"),
        (Outcome(signal=9), False, False, "failed"),
        (Outcome(error="no such file"), False, False, "failed"),
        (Outcome(), False, False, "lost"),
        (Outcome(), False, True, "finished"),
        (Outcome(), True, False, "stopped"),
    ],
)
def test_the_state_that_an_ending_gives(outcome: Outcome, stop_asked: bool, end: bool, state: str) -> None:
    assert state_of(outcome, stop_asked=stop_asked, reached_the_end=end) == state


def test_placeholders_leave_other_braces_alone() -> None:
    assert expand('{"a": {b}} {python}{unknown}', {"python": "/py"}) == '{"a": {b}} /py{unknown}'


def test_secrets_of_the_laptop_are_left_out_and_its_threads_are_not() -> None:
    given = {
        "WANDB_API_KEY": "s",
        "runpod_x": "s",
        "GitHub_Token": "s",
        "TOKENIZERS_PARALLELISM": "false",
        "A": "1",
    }
    assert inherited(given) == {"TOKENIZERS_PARALLELISM": "false", "A": "1"}
