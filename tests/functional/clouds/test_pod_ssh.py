"""SSH to a pod behind a real sshd, whose host key and port change with every start."""

from __future__ import annotations

import pytest

from tests.fakes.runpod import Fault, ManualClock, RunPodServer, Store
from tests.fakes.runpod.backing import SshdBacking
from tests.fakes.runpod.desk import RTX_4090, Desk
from tui.clouds.base import PodRequest
from tui.clouds.runpod_v2 import RunPodV2
from tui.errors import Unreachable
from tui.operations.rent_keys import find_key, make_key
from tui.operations.rent_ssh import connect_pod
from tui.operations.rent_wish import Wish
from tui.remote.ssh_ask import Ask, HostKeyQuestion, nobody_to_ask
from tui.remote.ssh_host_keys import HostKeyProblem


@pytest.fixture
def real_desk(v2: RunPodV2, store: Store, clock: ManualClock, backing: SshdBacking) -> Desk:
    store.backing = backing
    return Desk(v2, clock)


def test_the_own_key_logs_in_and_the_log_vouches_for_the_host(
    real_desk: Desk, v2: RunPodV2, store: Store
) -> None:
    asked: list[HostKeyQuestion] = []
    rented = real_desk.rent(ask=Ask(lambda question: bool(asked.append(question)), lambda path: None))
    assert asked == [], "the log shows the fingerprint: nobody needs to be asked"
    key = find_key(rented.pod.marker)
    assert key is not None
    assert key.stat().st_mode & 0o777 == 0o600
    machine = connect_pod(v2, rented.pod.id, nobody_to_ask())
    try:
        assert machine.run("env")[0] == 0
        environment = machine.run("env")[1].decode()
    finally:
        machine.close()
    assert store.account_key not in environment
    assert "RUNPOD_API_KEY" not in environment
    everything = b"".join(
        path.read_bytes()
        for path in store.backing.root.rglob("*")
        if path.is_file()  # type: ignore[attr-defined]
    )
    assert store.account_key.encode() not in everything


def test_ssh_refused_for_ninety_seconds_is_waited_for(real_desk: Desk, store: Store) -> None:
    store.timings.sshd = 90
    rented = real_desk.rent()
    waited = [told.elapsed_s for told in real_desk.told if told.stage == "ssh"]
    assert rented.pod.id in store.pods
    assert 80 <= max(waited) <= 100


def test_after_a_restart_a_new_port_and_a_new_host_key_are_no_riddle(
    real_desk: Desk, v2: RunPodV2, store: Store, clock: ManualClock
) -> None:
    rented = real_desk.rent()
    pod = store.pods[rented.pod.id]
    store.stop(pod)
    store.resume(pod)
    clock.advance(300)
    connect_pod(v2, pod.id, nobody_to_ask()).close()


def test_a_stale_port_is_asked_for_again(
    real_desk: Desk, v2: RunPodV2, store: Store, clock: ManualClock
) -> None:
    rented = real_desk.rent()
    pod = store.pods[rented.pod.id]
    store.stale_polls = 1
    store.stop(pod)
    store.resume(pod)
    clock.advance(300)
    with pytest.raises(Unreachable):
        connect_pod(v2, pod.id, nobody_to_ask())
    connect_pod(v2, pod.id, nobody_to_ask()).close()


def test_another_machine_in_the_pods_place_is_refused(
    real_desk: Desk, v2: RunPodV2, store: Store, backing: SshdBacking
) -> None:
    rented = real_desk.rent()
    backing.change_host_key(store.pods[rented.pod.id])
    with pytest.raises(HostKeyProblem, match="has changed"):
        connect_pod(v2, rented.pod.id, Ask(lambda question: True, lambda path: None))


def test_a_key_that_the_log_does_not_show_is_refused_at_first_contact(
    real_desk: Desk, v2: RunPodV2, store: Store, backing: SshdBacking, clock: ManualClock
) -> None:
    pod = v2.create(_request(real_desk.wish, clock))
    clock.advance(300)
    backing.change_host_key(store.pods[pod.id])
    with pytest.raises(HostKeyProblem, match="is not the pod"):
        connect_pod(v2, pod.id, Ask(lambda question: True, lambda path: None))


def test_without_a_log_the_user_is_asked(real_desk: Desk, server: RunPodServer, store: Store) -> None:
    asked: list[HostKeyQuestion] = []

    def yes(question: HostKeyQuestion) -> bool:
        asked.append(question)
        return True

    server.faults.append(_LogsAway("GET /v2/pods"))
    rented = real_desk.rent(ask=Ask(yes, lambda path: None))
    (question,) = asked
    assert question.host == f"runpod-{rented.pod.id}"


def test_a_user_who_says_no_gets_no_pod(real_desk: Desk, server: RunPodServer, store: Store) -> None:
    server.faults.append(_LogsAway("GET /v2/pods"))
    with pytest.raises(HostKeyProblem, match="not known"):
        real_desk.rent(ask=nobody_to_ask())
    assert store.pods == {}


def test_a_pod_that_is_gone_stopped_or_not_there_yet_says_so(
    real_desk: Desk, v2: RunPodV2, clock: ManualClock
) -> None:
    pod = v2.create(_request(real_desk.wish, clock))
    for state, words in (("new", "no address yet"), ("stopped", "is stopped"), ("gone", "is gone")):
        if state == "stopped":
            v2.stop(pod.id)
        if state == "gone":
            v2.terminate(pod.id)
        with pytest.raises(Unreachable, match=words) as caught:
            connect_pod(v2, pod.id, nobody_to_ask())
        assert caught.value.remedy


class _LogsAway(Fault):
    """The provider keeps its logs to itself."""

    def __init__(self, request: str) -> None:
        super().__init__(request, "403", times=10**6)

    def hits(self, request: str) -> bool:
        return request.endswith("/logs")


def _request(wish: Wish, clock: ManualClock):
    return PodRequest(
        name=wish.name, marker=wish.marker, gpu=RTX_4090, count=1, cloud="secure", image=wish.image,
        container_disk_gib=30, volume_gib=60, public_key=make_key(wish.marker),
        terminate_after=clock.now() + 36000,
    )  # fmt: skip
