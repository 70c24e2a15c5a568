"""Something dies every second while a run trains and a client follows it; at the end nothing is missing.

FINETUI_SOAK_S is the length in seconds; FINETUI_SOAK_SEED repeats a run of it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.fakes.agent_processes import agentd_pids
from tests.fakes.faulty_pod import FaultyPod, chatty_spec
from tests.fakes.following import Following
from tests.fakes.waiting import wait_for

SECONDS = float(os.environ.get("FINETUI_SOAK_S", "20"))
SEED = int(os.environ.get("FINETUI_SOAK_SEED", time.time_ns() % 1_000_000))


def kill_relays(pod: FaultyPod, noise: random.Random) -> None:
    for pid in pod.relays():
        pod.kill(pid)


def kill_agent(pod: FaultyPod, noise: random.Random) -> None:
    for pid in agentd_pids(pod.places):
        pod.kill(pid)


def stop_agent_for_a_moment(pod: FaultyPod, noise: random.Random) -> None:
    for pid in agentd_pids(pod.places):
        os.kill(pid, signal.SIGSTOP)
        threading.Event().wait(noise.uniform(0.1, 1.0))
        os.kill(pid, signal.SIGCONT)


def kill_session(pod: FaultyPod, noise: random.Random) -> None:
    pod.sshd.kill_sessions()


def cut(pod: FaultyPod, noise: random.Random) -> None:
    pod.proxy.cut()


def cut_in_a_frame(pod: FaultyPod, noise: random.Random) -> None:
    pod.proxy.cut_after(noise.randrange(1, 300_000))


def stall(pod: FaultyPod, noise: random.Random) -> None:
    pod.proxy.stall()
    threading.Event().wait(noise.uniform(0.1, 2.0))
    if noise.random() < 0.5:
        pod.proxy.cut()
    pod.proxy.resume()


def slow(pod: FaultyPod, noise: random.Random) -> None:
    pod.proxy.rate_bytes_s = noise.choice([0.0, 0.0, 300_000.0])
    pod.proxy.delay_s = noise.choice([0.0, 0.0, 0.05])


FAULTS: list[Callable[[FaultyPod, random.Random], None]] = [
    kill_relays, kill_agent, stop_agent_for_a_moment, kill_session, cut, cut_in_a_frame, stall, slow,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 240)
def test_soak(pod: FaultyPod) -> None:
    print(f"FINETUI_SOAK_SEED={SEED}")
    noise = random.Random(SEED)
    run = pod.launch(chatty_spec("--rate", "500000", "--code", "9"))
    end = time.monotonic() + SECONDS
    with Following(pod.target, run) as following:
        while time.monotonic() < end:
            threading.Event().wait(noise.uniform(0.2, 1.5))
            noise.choice(FAULTS)(pod, noise)
            assert len(agentd_pids(pod.places)) <= 1, "two agents"
        pod.proxy.rate_bytes_s = pod.proxy.delay_s = 0.0
        pod.check_job_never_noticed(run)
        assert pod.finish(run).exit_code == 9
        following.wait_whole(pod.places, 120.0)
        _check_steps(following)
    pod.check_nothing_left(run)
    wait_for(lambda: not pod.relays(), "the relays to leave")


def _check_steps(following: Following) -> None:
    """Every record of the metrics is there once and in order."""
    records = [json.loads(line) for line in following.metrics.read_text().splitlines()]
    steps = [record["step"] for record in records if record["event"] == "log"]
    assert steps == list(range(20, steps[-1] + 1, 20))
    assert [record["event"] for record in records].count("begin") == 1
    assert records[-1]["event"] == "end"
