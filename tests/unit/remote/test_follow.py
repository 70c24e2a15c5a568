"""The follower: events while connected, copies that survive a cut, and a connection state with its reason."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from remote_agent.protocol import Sample
from tests.fakes.agent import ScriptedAgent
from tests.fakes.waiting import wait_for
from tui.operations.follow import (
    ConnectionChanged,
    Event,
    Follower,
    LogGrew,
    MetricsArrived,
    RunsChanged,
    SampleArrived,
)
from tui.state.connection import Backoff
from tui.state.history import History

RUN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
OTHER = "01ARZ3NDEKTSV4RRFFQ69G5FAW"


class Events:
    """Everything that a follower said."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def of(self, kind: type) -> list[Event]:
        return [event for event in list(self.all) if isinstance(event, kind)]

    def states(self) -> list[str]:
        return [event.state for event in self.of(ConnectionChanged)]

    def steps(self) -> list[int]:
        return [
            record["step"]
            for event in self.of(MetricsArrived)
            for record in event.records
            if "loss" in record
        ]


@pytest.fixture
def agent() -> Iterator[ScriptedAgent]:
    made = ScriptedAgent()
    yield made
    made.close()


@pytest.fixture
def follow(agent: ScriptedAgent) -> Iterator[Callable[[], tuple[Follower, Events]]]:
    made: list[Follower] = []

    def start() -> tuple[Follower, Events]:
        events = Events()
        backoff = Backoff(lambda low, high: 0.01)
        follower = Follower("local", events.all.append, connect=agent.connect, backoff=backoff)
        made.append(follower)
        return follower.start(), events

    yield start
    for follower in made:
        follower.close()


def test_runs_and_samples_arrive_and_are_remembered(agent: ScriptedAgent, follow) -> None:
    agent.add(RUN, step=3, total=9)
    _, events = follow()
    wait_for(lambda: events.of(RunsChanged), "the runs")
    agent.sample(Sample(1.0, cores=8))
    wait_for(lambda: events.of(SampleArrived), "a sample")
    assert events.states()[:2] == ["connecting", "live"]
    entry = History().get(RUN)
    assert entry is not None
    assert entry.status.step == 3


def test_log_and_metrics_are_copied_exactly_through_a_cut(agent: ScriptedAgent, follow) -> None:
    agent.add(RUN)
    agent.log(RUN, b"before\n\xff\xfe")
    agent.train(RUN, 1, 3)
    follower, events = follow()
    log = follower.watch(RUN)
    wait_for(lambda: events.steps() == [1, 2, 3], "the first metrics")
    wait_for(lambda: log.size == 9, "the first log bytes")
    agent.drop("network is unreachable")
    wait_for(lambda: "lost" in events.states(), "the loss to be seen")
    agent.log(RUN, b"after\n")
    agent.train(RUN, 4, 6)
    agent.restore()
    wait_for(lambda: events.steps() == [1, 2, 3, 4, 5, 6], "the rest, nothing twice")
    wait_for(lambda: log.size == len(agent.runs[RUN].log), "the rest of the log")
    assert History().log_path(RUN).read_bytes() == agent.runs[RUN].log
    assert History().metrics_path(RUN).read_bytes() == agent.runs[RUN].metrics
    assert events.states()[-1] == "live"


def test_a_lost_connection_has_reason_age_and_next_try(agent: ScriptedAgent, follow) -> None:
    agent.refuse = "connection refused"
    follower, events = follow()
    wait_for(lambda: events.states().count("lost") >= 3, "several tries")
    lost = [event for event in events.of(ConnectionChanged) if event.state == "lost"]
    assert all("connection refused" in event.reason for event in lost)
    assert all(event.next_try_s is not None for event in lost)
    assert len({event.since for event in lost}) == 1, "one outage, however many tries"
    assert follower.client is None
    agent.restore()
    wait_for(lambda: follower.client is not None, "the connection to live")


def test_what_the_copies_hold_is_told_without_any_connection(agent: ScriptedAgent, follow) -> None:
    agent.add(RUN)
    agent.log(RUN, b"hello\n")
    agent.train(RUN, 1, 2)
    first, events = follow()
    first.watch(RUN)
    wait_for(lambda: events.steps() == [1, 2] and events.of(LogGrew), "the copies to be made")
    wait_for(lambda: History().log_path(RUN).read_bytes() == b"hello\n", "the log's copy")
    first.close()
    agent.drop()
    second, offline = follow()
    second.watch(RUN)
    wait_for(lambda: offline.steps() == [1, 2], "the metrics kept here")
    assert [event.size for event in offline.of(LogGrew)] == [6]


def test_a_run_that_is_not_there_does_not_hurt_the_others(agent: ScriptedAgent, follow) -> None:
    agent.add(RUN)
    follower, events = follow()
    follower.watch(OTHER)
    follower.watch(RUN)
    agent.train(RUN, 1, 1)
    wait_for(lambda: events.steps() == [1], "the metrics of the run that is there")
    assert "lost" not in events.states()


def test_after_unwatch_nothing_more_comes_and_watch_goes_on(agent: ScriptedAgent, follow) -> None:
    agent.add(RUN)
    agent.train(RUN, 1, 2)
    follower, events = follow()
    follower.watch(RUN)
    wait_for(lambda: events.steps() == [1, 2], "the metrics")
    follower.unwatch(RUN)
    follower.watch(RUN)
    agent.train(RUN, 3, 3)
    wait_for(lambda: events.steps()[-1:] == [3], "the metrics after watching again")
    assert events.steps()[2:] == [1, 2, 3], "a new watch tells everything from the start"


def test_close_is_quick_and_may_be_repeated(agent: ScriptedAgent, follow) -> None:
    agent.refuse = "away"
    follower, events = follow()
    wait_for(lambda: "lost" in events.states(), "the first failure")
    follower.close()
    follower.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "finetui-follow-local"]


def test_backoff_doubles_to_its_limit_and_starts_over() -> None:
    backoff = Backoff(lambda low, high: high)
    waits = [backoff.next_s() for _ in range(8)]
    assert waits[:3] == [0.3, 0.6, 1.2]
    assert waits[-1] == 15.0
    backoff.reset()
    assert backoff.next_s() == 0.3
    jittered = Backoff(lambda low, high: low)
    assert jittered.next_s() == 0.15
