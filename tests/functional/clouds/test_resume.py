"""Starting a stopped pod again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes.runpod import ManualClock, RunPodServer, Store
from tui.clouds.base import Pod
from tui.clouds.errors import NoCapacity
from tui.clouds.runpod_deadline import container_arguments
from tui.clouds.runpod_v2 import RunPodV2
from tui.errors import CostGuardRefused, InvalidInput, RemoteError
from tui.operations import rent_deadline, rent_stages
from tui.operations.rent_keys import make_key
from tui.operations.rent_place import Time
from tui.operations.rent_resume import resume
from tui.operations.rent_stages import Stages
from tui.remote.known_hosts import remember
from tui.remote.ssh_ask import Ask, nobody_to_ask
from tui.remote.ssh_host_keys import own_known_hosts


@pytest.fixture
def stopped(v2: RunPodV2, clock: ManualClock, request_for) -> Pod:
    """A pod that was stopped and whose deadline has passed since."""
    make_key("0123456789ab")
    pod = v2.create(request_for())
    v2.stop(pod.id)
    clock.advance(7200)
    now = v2.get(pod.id)
    assert now is not None
    return now


@pytest.fixture
def again(v2: RunPodV2, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pod]:
    class Machine:
        def close(self) -> None:
            return None

    monkeypatch.setattr(rent_stages, "connect_pod", lambda *_: Machine())

    def run(pod: Pod, hours: float = 5, reach: Callable[[str, Ask], None] = lambda target, ask: None) -> Pod:
        stages = Stages(v2, nobody_to_ask(), lambda progress: None, reach, Time(clock.now, clock.advance))
        return resume(v2, pod, clock.now() + hours * 3600, clock.now(), stages)

    return run


def test_it_gets_a_new_deadline_before_it_starts(
    again: Callable[..., Pod], stopped: Pod, store: Store, server: RunPodServer, clock: ManualClock
) -> None:
    """With the old one, which has passed, its first process would soon stop it."""
    deadline = clock.now() + 5 * 3600
    ready = again(stopped)
    assert ready.state == "running"
    assert store.pods[ready.id].wanted.args == container_arguments(deadline, server.url)
    assert rent_deadline.find(ready.marker) == deadline
    asked = [seen.method for seen in server.seen if seen.method in ("PATCH", "POST")]
    assert asked[-2:] == ["PATCH", "POST"]


def test_its_old_host_key_is_forgotten(again: Callable[..., Pod], stopped: Pod) -> None:
    own_known_hosts().parent.mkdir(parents=True, exist_ok=True)
    remember(own_known_hosts(), f"runpod-{stopped.id}", "ssh-ed25519", b"key")
    again(stopped)
    assert own_known_hosts().read_text() == ""


def test_without_gpus_it_is_not_called_ready(again: Callable[..., Pod], stopped: Pod, store: Store) -> None:
    store.resume_gpus = 0
    with pytest.raises(RemoteError, match="without a GPU") as caught:
        again(stopped)
    assert "terminate" in caught.value.remedy


def test_its_gpu_was_given_away(again: Callable[..., Pod], stopped: Pod, store: Store) -> None:
    store.machine_full = True
    with pytest.raises(NoCapacity, match="no free GPU"):
        again(stopped)


def test_a_pod_that_does_not_come_up_is_stopped_again(
    again: Callable[..., Pod], stopped: Pod, store: Store
) -> None:
    store.pods[stopped.id].stuck = True
    with pytest.raises(RemoteError, match="stopped again"):
        again(stopped)
    assert store.pods[stopped.id].desired == "EXITED"


def test_an_interrupt_stops_it_again(again: Callable[..., Pod], stopped: Pod, store: Store) -> None:
    def interrupt(target: str, ask: Ask) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(stopped, reach=interrupt)
    assert store.pods[stopped.id].desired == "EXITED"


def test_under_an_hour_nothing_is_started(
    again: Callable[..., Pod], stopped: Pod, server: RunPodServer
) -> None:
    before = len(server.seen)
    with pytest.raises(CostGuardRefused):
        again(stopped, hours=0.9)
    assert len(server.seen) == before


def test_pods_of_others_are_left_alone(
    again: Callable[..., Pod], stopped: Pod, store: Store, v2: RunPodV2
) -> None:
    store.pods[stopped.id].wanted.name = "notebook"
    pod = v2.get(stopped.id)
    with pytest.raises(InvalidInput, match="not rented with finetui"):
        again(pod)
    assert store.pods[stopped.id].desired == "EXITED"
