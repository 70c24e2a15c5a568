"""One build of the agent takes over from another: clients and runs of either lose nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import remote_agent
from remote_agent.identity import Proc
from remote_agent.places import Places
from tests.fakes.agent_processes import agentd_pids, end_agentd
from tests.fakes.agent_runs import Runs, tree_spec
from tests.fakes.agent_zip import build_agent_zip
from tests.fakes.waiting import wait_for
from tests.fakes.wire_client import WireClient

Build = Callable[..., Path]
OLD = remote_agent.VERSION
NEW = "9.0.0"
#: The limit for a new agent to be ready, cut short.
HASTY = {"relay.py": ("TAKE_OVER_LIMIT_S = 10.0", "TAKE_OVER_LIMIT_S = 1.0")}


@pytest.fixture(autouse=True)
def ended(places: Places) -> Iterator[None]:
    yield
    end_agentd(places)


@pytest.fixture
def build(places: Places) -> Build:
    """Put a build where the laptop puts it; returns its file."""

    def make(version: str, sha: str, **more: object) -> Path:
        path = places.state / "agent" / f"{version}-{sha}" / "agent.pyz"
        return build_agent_zip(path, version=version, **more)  # type: ignore[arg-type]

    return make


def build_of(client: WireClient) -> str:
    return str(client.call("hello", proto=[1, 1])["build"])


def start_run(client: WireClient, runs: Runs) -> Path:
    """Launch an endless run; return its heartbeat file."""
    spec = tree_spec("--steps", "100000", "--step-s", "0.02", "--children", "1")
    client.call("run.launch", run="r1", spec=spec, spec_sha="s", files={}, secrets={})
    runs.wait("r1", "running")
    heartbeat = runs.directory("r1").path / "heartbeat"
    wait_for(heartbeat.exists, "the job to be at work")
    return heartbeat


def assert_undisturbed(runs: Runs, heartbeat: Path, supervisor: int) -> None:
    """I1, I2, I7: still that one job, under its own supervisor, and it goes on."""
    before = heartbeat.read_text()
    wait_for(lambda: heartbeat.read_text() not in ("", before), "the job to go on")
    assert runs.status("r1").state == "running"
    assert runs.record("r1")["supervisor"]["pid"] == supervisor
    assert runs.begins("r1") == 1


def test_a_newer_build_takes_over_and_the_run_does_not_notice(
    runs: Runs, places: Places, build: Build
) -> None:
    old, new = build(OLD, "aaaaaaaaaaaa"), build(NEW, "bbbbbbbbbbbb")
    first = WireClient(places, program=old)
    assert build_of(first) == f"{OLD}-aaaaaaaaaaaa"
    heartbeat = start_run(first, runs)
    supervisor = runs.record("r1")["supervisor"]["pid"]
    (old_pid,) = agentd_pids(places)
    with WireClient(places, program=new) as second:
        assert build_of(second) == f"{NEW}-bbbbbbbbbbbb"
        with pytest.raises(EOFError):
            first.event("anything")
        wait_for(lambda: Proc().identify(old_pid) is None, "the old agent to be gone")
        assert len(agentd_pids(places)) == 1
        assert second.call("run.get", run="r1")["state"] == "running"
        assert_undisturbed(runs, heartbeat, supervisor)
        with WireClient(places, program=old) as again:
            assert build_of(again) == f"{NEW}-bbbbbbbbbbbb", "an older client never downgrades"
            again.call("run.stop", run="r1", force=True)
        assert build_of(second) == f"{NEW}-bbbbbbbbbbbb"
    first.hang_up()
    assert runs.ended("r1").state == "stopped"
    assert runs.left("r1") == []


def test_of_one_version_the_clients_own_build_takes_over_from_an_agent_that_nobody_uses(
    places: Places, build: Build
) -> None:
    one, other = build(OLD, "aaaaaaaaaaaa"), build(OLD, "bbbbbbbbbbbb")
    with WireClient(places, program=one) as first:
        build_of(first)
        with WireClient(places, program=other) as second:
            assert build_of(second) == f"{OLD}-aaaaaaaaaaaa", "two laptops must not take turns for ever"
            assert first.call("ping") == {}
    wait_for(lambda: alone(places, other), "the agent to notice that it is alone")
    assert len(agentd_pids(places)) == 1


def alone(places: Places, program: Path) -> bool:
    with WireClient(places, program=program) as client:
        return build_of(client) == program.parent.name


@pytest.mark.parametrize(
    "broken",
    [
        {"agentd.py": ("def main(", 'raise SystemExit("broken")\n\n\ndef main(')},
        {"agentd.py": ("_tell(ready, READY)", "pass"), **HASTY},
    ],
    ids=["ends", "hangs"],
)
def test_a_build_that_does_not_come_up_makes_room_for_the_old_one(
    runs: Runs, places: Places, build: Build, broken: dict[str, tuple[str, str]]
) -> None:
    old, new = build(OLD, "aaaaaaaaaaaa"), build(NEW, "bbbbbbbbbbbb", changes=broken)
    with WireClient(places, program=old) as first:
        heartbeat = start_run(first, runs)
    supervisor = runs.record("r1")["supervisor"]["pid"]
    with WireClient(places, program=new) as second:
        assert build_of(second) == f"{OLD}-aaaaaaaaaaaa"
        assert second.call("run.get", run="r1")["state"] == "running"
        findings = second.call("health")["findings"]
        assert any(NEW in item["text"] and item["level"] == "warning" for item in findings)
    pids = agentd_pids(places)
    assert len(pids) == 1
    with WireClient(places, program=new) as third:
        build_of(third)
        assert agentd_pids(places) == pids, "it is not tried again at once"
    assert_undisturbed(runs, heartbeat, supervisor)


@pytest.mark.parametrize(
    ("failpoint", "where"),
    [
        ("handover-before-leave", "old"),
        ("handover-after-leave", "new"),
        ("agentd-before-bind", "new"),
        ("agentd-before-ready", "new"),
    ],
)
def test_a_crash_at_any_moment_of_a_handover_is_made_good_by_the_next_connect(
    runs: Runs, places: Places, build: Build, failpoint: str, where: str
) -> None:
    old, new = build(OLD, "aaaaaaaaaaaa"), build(NEW, "bbbbbbbbbbbb")
    crash = {"FINETUI_FAILPOINT": failpoint}
    with WireClient(places, program=old, **(crash if where == "old" else {})) as first:
        heartbeat = start_run(first, runs)
    supervisor = runs.record("r1")["supervisor"]["pid"]
    hurt = WireClient(places, program=new, **(crash if where == "new" else {}))
    hurt.input.close()
    hurt.process.wait(30)
    with WireClient(places, program=new) as healed:
        assert build_of(healed) == f"{NEW}-bbbbbbbbbbbb"
        assert healed.call("run.get", run="r1")["state"] == "running"
        assert len(agentd_pids(places)) == 1
    assert_undisturbed(runs, heartbeat, supervisor)


def test_an_agent_that_is_frozen_is_named_and_not_doubled(places: Places, build: Build) -> None:
    program = build(
        OLD, "aaaaaaaaaaaa", changes={"relay.py": ("ANSWER_LIMIT_S = 10.0", "ANSWER_LIMIT_S = 1.0")}
    )
    with WireClient(places, program=program) as client:
        client.call("ping")
    (pid,) = agentd_pids(places)
    os.kill(pid, signal.SIGSTOP)
    try:
        late = WireClient(places, program=program)
        refusal = late.wait(lambda frame: "error" in frame.header).header["error"]
        assert f"pid {pid}" in refusal["message"]
        assert f"kill -9 {pid}" in refusal["data"]["remedy"]
        assert late.hang_up() == 1
        assert agentd_pids(places) == [pid]
    finally:
        os.kill(pid, signal.SIGCONT)
    with WireClient(places, program=program) as client:
        assert client.call("ping") == {}
