"""The account's pods: which are ours, which nobody uses, and what ending them takes."""

from __future__ import annotations

import pytest

from remote_agent.protocol import RunStatus
from tests.fakes.runpod import ManualClock, RunPodServer, Store
from tui.clouds.runpod_v2 import RunPodV2
from tui.errors import InvalidInput
from tui.operations.pods import (
    find_pod,
    orphans,
    pods_in_use,
    refuse_used_name,
    stop_pod,
    terminate_pod,
)
from tui.operations.rent_keys import find_key, make_key
from tui.remote.known_hosts import remember
from tui.remote.ssh_host_keys import own_known_hosts
from tui.state.history import History
from tui.state.run_id import new_run_id

A, B = "a" * 12, "b" * 12


@pytest.fixture
def history() -> History:
    return History()


def test_orphans_are_ours_and_without_a_live_run(
    v2: RunPodV2, store: Store, history: History, clock: ManualClock, request_for
) -> None:
    used, idle = v2.create(request_for(marker=A)), v2.create(request_for(marker=B))
    others = v2.create(request_for(marker="c" * 12))
    store.pods[others.id].wanted.name = "somebody's notebook"
    live, ended = new_run_id(), new_run_id()
    history.remember(f"runpod:{used.id}", RunStatus(live, "running"))
    history.remember(f"runpod:{idle.id}", RunStatus(ended, "finished"))
    assert [pod.id for pod in orphans(v2, history)] == [idle.id]
    uses = {use.pod.id: use.runs for use in pods_in_use(v2, history)}
    assert uses == {used.id: (live,), idle.id: (), others.id: ()}
    v2.stop(idle.id)
    assert [pod.id for pod in orphans(v2, history)] == [idle.id], "its volume is billed"
    v2.terminate(idle.id)
    assert orphans(v2, history) == []


def test_a_pod_is_found_by_id_target_or_name_of_ours(v2: RunPodV2, store: Store, request_for) -> None:
    pod = v2.create(request_for())
    assert {find_pod(v2, text).id for text in (pod.id, f"runpod:{pod.id}", "demo")} == {pod.id}
    v2.create(request_for(marker=B))
    with pytest.raises(InvalidInput, match="2 pods are named 'demo'"):
        find_pod(v2, "demo")
    store.pods[pod.id].wanted.name = "notebook"
    with pytest.raises(InvalidInput, match="no pod 'notebook'"):
        find_pod(v2, "notebook")


def test_a_used_name_is_refused_while_the_pod_is_there(v2: RunPodV2, request_for) -> None:
    pod = v2.create(request_for())
    with pytest.raises(InvalidInput, match=pod.id):
        refuse_used_name(v2, "demo")
    refuse_used_name(v2, "other")
    v2.terminate(pod.id)
    refuse_used_name(v2, "demo")


def test_the_end_of_a_pod_is_the_end_of_its_keys(v2: RunPodV2, history: History, request_for) -> None:
    pod = v2.create(request_for(marker=A, public_key=make_key(A)))
    remember(own_known_hosts(), f"runpod-{pod.id}", "ssh-ed25519", b"key")
    remember(own_known_hosts(), "runpod-other", "ssh-ed25519", b"key")
    terminate_pod(v2, pod, history)
    assert find_key(A) is None
    assert [line.split()[0] for line in own_known_hosts().read_text().splitlines()] == ["runpod-other"]


def test_a_stop_forgets_the_host_key(v2: RunPodV2, request_for) -> None:
    own_known_hosts().parent.mkdir(parents=True)
    pod = v2.create(request_for())
    remember(own_known_hosts(), f"runpod-{pod.id}", "ssh-ed25519", b"key")
    stop_pod(v2, pod)
    assert own_known_hosts().read_text() == ""


def test_a_live_run_is_not_ended_by_the_way(
    v2: RunPodV2, server: RunPodServer, history: History, request_for
) -> None:
    pod = v2.create(request_for())
    run = new_run_id()
    history.remember(f"runpod:{pod.id}", RunStatus(run, "stopping"))
    with pytest.raises(InvalidInput, match=run):
        terminate_pod(v2, pod, history)
    assert v2.get(pod.id)
    terminate_pod(v2, pod, history, force=True)
    assert v2.get(pod.id) is None
