"""The guard, as a process and as a user meets it: it warns, saves, acts once, survives, loses no results."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from remote_agent import VERSION, attendance, guard_config, guard_control, results
from remote_agent.documents import read_json
from remote_agent.guard import STOP_RUNS_LIMIT_S, Guard
from remote_agent.guard_facts import Observer
from remote_agent.hashes import Hashes
from remote_agent.identity import Identity, Proc
from remote_agent.moments import Moment
from remote_agent.places import Places
from remote_agent.pod_control import PodControl
from remote_agent.protocol import INVALID_PARAMS, REFUSED
from remote_agent.runs import lock_held
from remote_agent.watch import RunsScan
from tests.fakes.agent_processes import agentd_pids, end_agentd
from tests.fakes.agent_runs import Runs, tree_spec
from tests.fakes.agent_zip import build_agent_zip
from tests.fakes.pod_api import KEY, POD, PodApi
from tests.fakes.waiting import wait_for
from tests.fakes.wire_client import WireClient


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PodApi]:
    server = PodApi(tmp_path)
    for name, value in server.variables().items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def ended(places: Places) -> Iterator[None]:
    yield
    places.guard_config.unlink(missing_ok=True)
    process = guard_process(places)
    if process is not None:
        os.kill(process.pid, signal.SIGKILL)
    end_agentd(places)


def guard_process(places: Places) -> Identity | None:
    found = Identity.from_json((read_json(places.guard_status) or {}).get("process"))
    return found if Proc().alive(found) and lock_held(places.guard_lock) else None


def logged(places: Places) -> list[tuple[str, str]]:
    text = places.guard_log.read_text() if places.guard_log.exists() else ""
    return [(record["event"], record["text"]) for record in map(json.loads, text.splitlines())]


class Pod:
    """A guard in this process, with a clock that the test turns."""

    def __init__(self, runs: Runs, api: PodApi, **params: Any) -> None:
        self.runs, self.places = runs, runs.places
        self.now = Moment(1000.0, "kernel", 1_790_000_000.0)
        self.gpus_busy = False
        guard_config.store(self.places, guard_config.parse(params, self.now, POD))
        self.environ = {**os.environ, **api.variables()}
        self.start()

    def start(self) -> None:
        """Start the guard's process, as far as its state is concerned."""
        config = guard_config.load(self.places)
        assert config is not None
        self.guard = Guard(
            self.places,
            config,
            control=lambda: PodControl.from_environment(self.environ),
            observer=Observer(self.places, RunsScan(self.places), busy=lambda: self.gpus_busy),
            now=lambda: self.now,
        )

    def turn(self, seconds: float) -> bool:
        """Let time pass, then look."""
        self.now = replace(self.now, boottime_s=self.now.boottime_s + seconds, wall=self.now.wall + seconds)
        return self.guard.tick()

    def events(self) -> list[str]:
        return [event for event, _ in logged(self.places)]


def trained(runs: Runs, run: str = "r1") -> None:
    """Leave a finished run with results."""
    runs.launch(run, tree_spec("--steps", "3"))
    assert runs.ended(run).state == "finished"
    (runs.directory(run).output / "model.safetensors").write_bytes(b"weights" * 1000)


def acknowledge(runs: Runs, run: str = "r1") -> None:
    """Have the laptop say that it holds the results."""
    held = held_by_laptop(runs, run)
    assert results.acknowledge(runs.places, run, held, Hashes()).safe


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_idle_is_no_run_and_no_gpu_work(runs: Runs, api: PodApi) -> None:
    pod = Pod(runs, api, idle_s=600, warn_s=300)
    pod.gpus_busy = True
    for _ in range(5):
        pod.turn(300)
    assert pod.events() == []
    pod.gpus_busy = False
    pod.turn(10)
    pod.turn(290)
    assert pod.events() == []
    pod.turn(20)
    assert pod.events() == ["warning"]
    pod.gpus_busy = True
    pod.turn(280)
    pod.gpus_busy = False
    pod.turn(30)
    assert api.actions == [], "work in between starts the count anew"
    pod.turn(310)
    pod.turn(290)
    pod.turn(70)
    assert api.actions == ["stop"]
    assert api.asked[-1][1] == f"/v2/pods/{POD}/action"
    assert all(agent.startswith("finetui/") for agent in api.agents)


def test_at_the_deadline_runs_save_and_stop_and_then_the_pod(runs: Runs, api: PodApi) -> None:
    runs.launch("r1", tree_spec("--steps", "100000", "--step-s", "0.02"))
    runs.wait("r1", "running")
    pod = Pod(runs, api, deadline_in_s=3600, may_be_lost=True, warn_s=300)
    pod.turn(3000)
    assert pod.events() == []
    pod.turn(400)
    pod.turn(150)
    assert pod.events() == ["warning", "warning"]
    assert runs.status("r1").state == "running"
    pod.turn(70)
    status = runs.ended("r1")
    assert status.state == "stopped"
    assert (runs.directory("r1").output / f"checkpoint-{status.step}" / "trainer_state.json").exists()
    assert "the guard stops this run: the deadline of 60 min" in runs.log("r1")
    assert api.actions == []
    pod.turn(1)
    assert api.actions == ["stop"]


def test_a_run_that_does_not_stop_is_forced(runs: Runs, api: PodApi) -> None:
    spec = tree_spec("--steps", "100000", "--children", "2", "--stubborn", "--deaf")
    spec["stop"] = {"graceful_save_s": 100_000, "grace_s": 100_000}
    runs.launch("r1", spec)
    runs.wait("r1", "running")
    pod = Pod(runs, api, deadline_in_s=60, may_be_lost=True, warn_s=60)
    pod.turn(0)
    pod.turn(70)
    pod.turn(STOP_RUNS_LIMIT_S - 1)
    assert runs.status("r1").state == "stopping"
    pod.turn(2)
    assert runs.ended("r1").state == "stopped"
    assert runs.left("r1") == []


def test_results_that_are_nowhere_else_keep_the_pod(runs: Runs, api: PodApi) -> None:
    pod = Pod(runs, api, actions={"finished_detached": "terminate"}, warn_s=100)
    pod.turn(1)
    trained(runs)
    pod.turn(10)
    pod.turn(200)
    pod.turn(200)
    assert api.actions == []
    assert pod.events().count("blocked") == 1
    assert "r1" in guard_control.view(runs.places)["blocked"]
    acknowledge(runs)
    pod.turn(10)
    assert api.actions == ["terminate"]


@pytest.mark.parametrize(("attached", "actions"), [(True, []), (False, ["terminate"])])
def test_the_end_of_a_run_counts_by_who_is_there(
    runs: Runs, api: PodApi, attached: bool, actions: list[str]
) -> None:
    settings = {"finished_attached": "keep", "finished_detached": "terminate"}
    pod = Pod(runs, api, actions=settings, warn_s=100, may_be_lost=True)
    attendance.note(runs.places, connected=attached)
    pod.turn(1)
    trained(runs)
    for seconds in (10, 110, 70):
        pod.turn(seconds)
    assert api.actions == actions


def test_an_end_from_before_the_guard_was_armed_is_no_event(runs: Runs, api: PodApi) -> None:
    trained(runs)
    pod = Pod(runs, api, actions={"finished_detached": "terminate"}, warn_s=1, may_be_lost=True)
    for _ in range(5):
        pod.turn(1000)
    assert api.actions == []


def test_a_guard_that_was_killed_goes_on_where_it_was(runs: Runs, api: PodApi) -> None:
    pod = Pod(runs, api, actions={"finished_detached": "terminate"}, warn_s=100, may_be_lost=True)
    pod.turn(1)
    pod.start()
    trained(runs)
    pod.turn(10)
    pod.start()
    assert api.actions == []
    pod.turn(60)
    pod.start()
    pod.turn(70)
    assert api.actions == ["terminate"]
    assert pod.events().count("warning") == 2, "each stage is said once"


def test_an_api_that_fails_is_asked_again_and_nothing_secret_is_written(runs: Runs, api: PodApi) -> None:
    api.answers = [500, 502]
    pod = Pod(runs, api, deadline_in_s=10, warn_s=0, may_be_lost=True)
    pod.turn(0)
    pod.turn(11)
    assert [event for event in pod.events() if event != "warning"] == ["action", "failure"]
    pod.turn(31)
    pod.turn(61)
    assert api.actions == ["stop"] * 3
    assert pod.events()[-1] == "acted"
    for path in runs.places.state.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("network_volume", "answer", "then"),
    [(True, 400, "terminate"), (True, 502, "stop"), (False, 400, "stop")],
)
def test_a_pod_that_can_not_be_stopped_is_terminated_if_its_volume_stays(
    runs: Runs, api: PodApi, network_volume: bool, answer: int, then: str
) -> None:
    trained(runs)
    api.answers = [answer]
    pod = Pod(
        runs, api, deadline_in_s=10, warn_s=0, network_volume=network_volume, may_be_lost=not network_volume
    )
    pod.turn(0)
    pod.turn(11)
    pod.turn(31)
    assert api.actions == ["stop", then]


def test_after_the_pod_was_started_again_the_guard_is_spent(
    runs: Runs, api: PodApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = Pod(runs, api, deadline_in_s=10, warn_s=0, may_be_lost=True)
    pod.turn(0)
    pod.turn(11)
    assert api.actions == ["stop"]
    monkeypatch.setattr(Proc, "boot", lambda self: "after the restart")
    pod.start()
    assert pod.turn(5) is False
    assert guard_config.load(runs.places) is None
    assert api.actions == ["stop"]
    assert pod.events()[-1] == "disarmed"


def test_extend_is_heard(runs: Runs, api: PodApi) -> None:
    pod = Pod(runs, api, deadline_in_s=100, warn_s=50, may_be_lost=True)
    pod.turn(60)
    config = guard_config.load(runs.places)
    assert config is not None
    guard_config.store(runs.places, config.extended(5000))
    pod.turn(100)
    pod.turn(4000)
    assert api.actions == []
    pod.turn(900)
    pod.turn(60)
    assert api.actions == ["stop"]


def test_a_disk_that_fills_up_is_warned_of(runs: Runs, api: PodApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remote_agent.machine.disk", lambda path: (95 * 10**9, 100 * 10**9))
    pod = Pod(runs, api, min_free_bytes=20 * 10**9, warn_s=50)
    pod.turn(1)
    for _ in range(5):
        pod.turn(100)
    assert logged(runs.places) == [("notice", "only 5.0 GB of disk are free; nothing is done, as was asked")]
    assert api.actions == []


def held_by_laptop(runs: Runs, run: str = "r1", which: int = 0) -> dict[str, str]:
    directory = runs.directory(run)
    return {path: sha256(directory.path / path) for path in results.results_of(directory)[which]}


def test_results_are_compared_by_hash(runs: Runs) -> None:
    trained(runs)
    directory, hashes = runs.directory("r1"), Hashes()
    held = held_by_laptop(runs)
    assert list(held) == ["output/model.safetensors"]
    wrong = results.acknowledge(runs.places, "r1", {**held, "output/model.safetensors": "0" * 64}, hashes)
    assert wrong.differs == ("output/model.safetensors",)
    assert results.acknowledge(runs.places, "r1", {}, hashes).missing
    assert not results.is_safe(directory)
    assert results.acknowledge(runs.places, "r1", held, hashes).safe
    assert results.is_safe(directory)
    record = json.loads(directory.proc.read_text())
    directory.proc.write_text(json.dumps({**record, "attempt": 2}))
    assert not results.is_safe(directory), "a resume makes new results"


def test_the_checkpoint_of_the_last_step_is_as_good_as_the_final_model(runs: Runs) -> None:
    trained(runs)
    directory = runs.directory("r1")
    held = held_by_laptop(runs, which=1)
    assert all(path.startswith("output/checkpoint-3/") for path in held)
    assert results.acknowledge(runs.places, "r1", held, Hashes()).safe
    directory.safe.unlink()
    (directory.output / "checkpoint-3").rename(directory.output / "checkpoint-2")
    assert len(results.results_of(directory)) == 1, "one from an earlier step is not"


def test_a_run_that_made_nothing_has_nothing_to_lose(runs: Runs) -> None:
    runs.launch("r1", tree_spec(steps=[{"name": "train", "argv": ["false"]}]))
    assert runs.ended("r1").state == "failed"
    assert results.is_safe(runs.directory("r1"))


def test_over_the_wire_with_every_process_killed(runs: Runs, places: Places, api: PodApi) -> None:
    """agentd dies, the guard dies, the laptop is away: the pod is stopped all the same."""
    with WireClient(places) as client:
        reply = client.call("guard.set", guard={"idle_s": 3, "warn_s": 1, "may_be_lost": True})
        assert reply["armed"]
        assert reply["checked"] == ""
        assert reply["alive"]
        client.call("sub.open", kind="runs")
        process = wait_for(lambda: guard_process(places), "the guard to be at work")
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: (guard_process(places) or process) != process, "agentd to start the guard again")
        told = client.wait(
            lambda frame: bool((frame.header.get("params") or {}).get("guard", {}).get("notices"))
        )
        notices = told.header["params"]["guard"]["notices"]
        assert any("this pod will be stopped" in notice["text"] for notice in notices)
    end_agentd(places)
    assert guard_process(places) is not None
    wait_for(lambda: api.actions, "the pod to be stopped")
    assert api.actions[0] == "stop"
    assert agentd_pids(places) == []
    for pid in Proc().pids():
        if Proc().environ(pid):
            assert KEY.encode() not in Proc().environ(pid)


def test_extend_and_disarm_over_the_wire(places: Places, api: PodApi) -> None:
    with WireClient(places) as client:
        assert client.error("guard.extend", seconds=60)["code"] == REFUSED
        assert client.error("guard.set", guard={"idle_s": "x"})["code"] == INVALID_PARAMS
        client.call("guard.set", guard={"deadline_in_s": 9000, "price_per_h": 3.6})
        assert client.call("guard.extend", seconds=3600)["config"]["not_before_s"] == pytest.approx(
            3600, abs=60
        )
        seen = wait_for(lambda: client.call("guard.get")["plan"], "a plan")
        assert (seen["trigger"], seen["action"]) == ("deadline", "stop")
        assert client.call("guard.get")["spent_usd"] >= 0
        assert client.call("guard.set", guard={})["armed"] is False
        wait_for(lambda: not lock_held(places.guard_lock), "the guard to end")
    assert [event for event, _ in logged(places)] == ["armed", "extended", "disarmed"]


def test_a_machine_that_can_not_stop_itself_refuses_to_promise_it(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINETUI_POD_ENVIRON", str(tmp_path / "empty"))
    with WireClient(places) as client:
        error = client.error("guard.set", guard={"idle_s": 600})
        assert error["code"] == REFUSED
        assert "keep" in error["data"]["remedy"]
        kept = client.call("guard.set", guard={"idle_s": 600, "actions": {"idle": "keep"}})
        assert kept["armed"]


def test_an_armed_guard_keeps_the_agent_and_a_newer_build_replaces_its_process(
    places: Places, api: PodApi
) -> None:
    old = build_agent_zip(places.state / "agent" / f"{VERSION}-aaaaaaaaaaaa" / "agent.pyz")
    new = build_agent_zip(places.state / "agent" / "9.0.0-bbbbbbbbbbbb" / "agent.pyz", version="9.0.0")
    with WireClient(places, program=old) as client:
        client.call("guard.set", guard={"deadline_in_s": 9000})
        first = wait_for(lambda: guard_process(places), "the guard to be at work")
    with WireClient(places, program=new) as client:
        client.call("ping")
        wait_for(lambda: guard_build(places) == "9.0.0-bbbbbbbbbbbb", "the guard of the new build")
        second = guard_process(places)
        assert second not in (None, first)
        assert client.call("guard.get")["alive"]
    assert [event for event, _ in logged(places)] == ["armed"]


def guard_build(places: Places) -> str:
    return (read_json(places.guard_status) or {}).get("build", "") if guard_process(places) else ""


def test_a_run_that_starts_at_the_last_moment_is_not_stopped_for_idleness(runs: Runs, api: PodApi) -> None:
    pod = Pod(runs, api, idle_s=100, warn_s=10, may_be_lost=True)
    pod.turn(0)
    pod.turn(95)
    observer = pod.guard._observer
    look = observer.look

    def look_then_launch(config: object, t: float) -> object:
        facts = look(config, t)  # type: ignore[arg-type]
        runs.launch("r1", tree_spec("--steps", "100000", "--step-s", "0.02"))
        return facts

    observer.look = look_then_launch  # type: ignore[method-assign,assignment]
    pod.turn(20)
    assert api.actions == []
    assert runs.wait("r1", "running")


def test_a_guard_of_another_pod_with_the_same_volume_is_none_of_ours(
    runs: Runs, places: Places, api: PodApi
) -> None:
    pod = Pod(runs, api, deadline_in_s=10, warn_s=0, may_be_lost=True)
    pod.turn(0)
    api.environ.write_bytes(f"RUNPOD_POD_ID=another\0RUNPOD_API_KEY={KEY}\0".encode())
    assert pod.turn(100) is False
    with WireClient(places) as client:
        assert client.call("guard.get")["armed"] is False
    assert api.actions == []
    assert not lock_held(places.guard_lock)
