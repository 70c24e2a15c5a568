"""Renting against the fake provider: one pod, ready, or none at all; real sshd where SSH matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.runpod import Fault, ManualClock, RunPodServer, Store
from tests.fakes.runpod.backing import SshdBacking
from tests.fakes.runpod.texts import NO_DISK_SPACE, NO_INSTANCES
from tests.fakes.sshd import require_sshd
from tui.clouds.base import PodRequest
from tui.clouds.errors import NoCapacity, NoCredit, Rejected
from tui.clouds.runpod_v2 import RunPodV2
from tui.errors import CostGuardRefused, RemoteError, Unreachable
from tui.operations import rent_ssh, rent_stages
from tui.operations.rent import Rented, rent
from tui.operations.rent_keys import find_key, make_key
from tui.operations.rent_place import Time
from tui.operations.rent_ssh import connect_pod
from tui.operations.rent_stages import LIMITS_S, Progress
from tui.operations.rent_wish import Candidate, Wish
from tui.remote.ssh_ask import Ask, HostKeyQuestion, nobody_to_ask
from tui.remote.ssh_host_keys import HostKeyProblem

RTX_4090 = "NVIDIA GeForce RTX 4090"
A6000 = "NVIDIA RTX A6000"
H100 = "NVIDIA H100 80GB HBM3"


def candidate(gpu: str = RTX_4090, cloud: str = "secure", price: float = 0.70, place: str = "") -> Candidate:
    return Candidate(gpu, gpu.rsplit(maxsplit=1)[-1], 1, cloud, place, price)


class Desk:
    """Rents with the fake's clock and keeps what was told on the way; SSH and agent always answer."""

    def __init__(self, cloud: RunPodV2, clock: ManualClock) -> None:
        self.cloud = cloud
        self.clock = clock
        self.told: list[Progress] = []
        self.wish = Wish("demo", "runpod/pytorch:1.0.7", 30, 60, hours=24.0)
        self.reach: Callable[[str, Ask], None] = lambda target, ask: None

    def rent(self, *candidates: Candidate, wish: Wish | None = None, ask: Ask | None = None) -> Rented:
        return rent(
            self.cloud,
            wish or self.wish,
            candidates or [candidate()],
            ask or nobody_to_ask(),
            self.told.append,
            reach=self.reach,
            clock=Time(self.clock.now, self.clock.advance),
            wall_clock=self.clock.now,
        )

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(progress.stage for progress in self.told if not progress.note))

    @property
    def notes(self) -> str:
        return "\n".join(progress.note for progress in self.told if progress.note)


@pytest.fixture
def desk(v2: RunPodV2, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Desk:
    class Machine:
        def close(self) -> None:
            return None

    monkeypatch.setattr(rent_stages, "connect_pod", lambda *_: Machine())
    return Desk(v2, clock)


def creates(server: RunPodServer) -> int:
    return len(server.requests("POST", "/v2/pods"))


class TestStages:
    def test_a_pod_goes_through_all_of_them_and_is_ready(
        self, desk: Desk, store: Store, clock: ManualClock
    ) -> None:
        start = clock.now()
        rented = desk.rent()
        assert desk.stages == ["renting", "pulling", "starting", "ssh", "agent"]
        assert rented.pod.id in store.pods
        assert rented.pod.endpoint is not None
        assert rented.terminate_after == start + 24 * 3600
        assert all(0 <= told.elapsed_s <= told.limit_s for told in desk.told)
        pulling = [told.elapsed_s for told in desk.told if told.stage == "pulling"]
        assert pulling == sorted(pulling)
        assert pulling[-1] > 0

    def test_a_host_that_never_starts_is_handed_back_and_the_next_one_tried(
        self, desk: Desk, store: Store, server: RunPodServer
    ) -> None:
        store.stuck_next = 1
        rented = desk.rent()
        assert creates(server) == 2
        assert list(store.pods) == [rented.pod.id]
        assert len(store.ended) == 1
        assert "pulling took more than 900 s" in desk.notes
        assert "handed pod" in desk.notes

    def test_bad_hosts_of_one_card_lead_to_the_next_card(
        self, desk: Desk, store: Store, server: RunPodServer
    ) -> None:
        store.stuck_next = 2
        rented = desk.rent(candidate(), candidate(A6000, price=0.50))
        assert rented.candidate.gpu == A6000
        assert creates(server) == 3
        assert list(store.pods) == [rented.pod.id]

    def test_bad_hosts_everywhere_leave_nothing_behind(self, desk: Desk, store: Store) -> None:
        store.stuck_next = 99
        with pytest.raises(NoCapacity, match="nothing is left running") as caught:
            desk.rent(candidate(), candidate(A6000, price=0.50))
        assert "took more than" in caught.value.cause
        assert store.pods == {}
        assert find_key(desk.wish.marker) is None

    def test_no_address_in_time(self, desk: Desk, store: Store) -> None:
        store.timings.ports = LIMITS_S["starting"] + 60
        with pytest.raises(NoCapacity, match="starting took more than 360 s"):
            desk.rent()
        assert store.pods == {}

    def test_an_agent_that_does_not_answer(self, desk: Desk, store: Store) -> None:
        def refuse(target: str, ask: Ask) -> None:
            raise Unreachable("no Python", cause="found none")

        desk.reach = refuse
        with pytest.raises(NoCapacity, match=r"agent took more than 180 s .*found none"):
            desk.rent()
        assert store.pods == {}

    def test_a_pod_deleted_by_hand_ends_the_renting(
        self, desk: Desk, store: Store, clock: ManualClock, server: RunPodServer
    ) -> None:
        def delete_soon() -> None:
            store.settle()
            for pod in list(store.pods.values()):
                if store.age(pod) > 30:
                    store.terminate(pod)

        clock.after_advance = delete_soon
        with pytest.raises(RemoteError, match="was ended while it was starting"):
            desk.rent()
        assert creates(server) == 1

    def test_a_pod_deleted_by_hand_while_ssh_is_tried_is_not_replaced(
        self, desk: Desk, store: Store, server: RunPodServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def delete_and_connect(cloud: RunPodV2, pod: str, ask: Ask) -> None:
            cloud.terminate(pod)
            connect_pod(cloud, pod, ask)

        monkeypatch.setattr(rent_stages, "connect_pod", delete_and_connect)
        with pytest.raises(RemoteError, match="was ended"):
            desk.rent()
        assert creates(server) == 1

    def test_a_provider_that_is_away_for_a_while_costs_no_pod(
        self, desk: Desk, store: Store, server: RunPodServer
    ) -> None:
        server.faults.append(Fault("GET /v2/pods/", "502", times=7))
        rented = desk.rent()
        assert list(store.pods) == [rented.pod.id]
        assert creates(server) == 1


class TestWalk:
    def test_candidates_are_asked_in_their_order(
        self, desk: Desk, store: Store, server: RunPodServer
    ) -> None:
        wishes = [candidate(H100), candidate(place="EU-RO-1"), candidate(A6000)]
        store.card(RTX_4090).free["SECURE", "EU-RO-1"] = 0
        rented = desk.rent(*wishes)
        assert rented.candidate == wishes[2]
        bodies = [seen.body for seen in server.requests("POST", "/v2/pods")]
        assert [(body["gpu"]["id"], body.get("dataCenterIds")) for body in bodies] == [
            (H100, None),
            (RTX_4090, ["EU-RO-1"]),
            (A6000, None),
        ]
        assert NO_INSTANCES in desk.notes

    def test_a_forbidden_pool_is_skipped(self, desk: Desk, store: Store) -> None:
        store.forbidden_clouds = {"COMMUNITY"}
        rented = desk.rent(candidate(cloud="community", price=0.35), candidate())
        assert rented.candidate.cloud == "secure"

    def test_nothing_anywhere_names_the_reasons(self, desk: Desk, store: Store) -> None:
        store.no_disk_space = True
        with pytest.raises(NoCapacity) as caught:
            desk.rent(candidate(), candidate(H100))
        assert NO_DISK_SPACE in caught.value.cause
        assert NO_INSTANCES not in caught.value.cause

    def test_a_broken_rule_is_told_as_one(self, desk: Desk) -> None:
        with pytest.raises(Rejected, match="gpu type not found"):
            desk.rent(candidate("no such"), candidate("nor this"))

    def test_no_credit_ends_the_walk(self, desk: Desk, store: Store, server: RunPodServer) -> None:
        store.balance = 0.1
        with pytest.raises(NoCredit) as caught:
            desk.rent(candidate(), candidate(A6000))
        assert caught.value.exit_code == 4
        assert creates(server) == 1


class TestGuards:
    def test_a_budget_under_one_hour_rents_nothing(self, desk: Desk, server: RunPodServer) -> None:
        with pytest.raises(CostGuardRefused, match="less than one hour") as caught:
            desk.rent(candidate(price=0.70), wish=_with(desk.wish, budget=0.50))
        assert caught.value.exit_code == 4
        assert "0.70" in caught.value.remedy
        assert server.seen == []

    def test_a_deadline_under_one_hour_rents_nothing(self, desk: Desk, server: RunPodServer) -> None:
        with pytest.raises(CostGuardRefused):
            desk.rent(wish=_with(desk.wish, hours=0.5))
        assert server.seen == []

    def test_the_budget_is_a_deadline(self, desk: Desk, clock: ManualClock) -> None:
        start = clock.now()
        rented = desk.rent(wish=_with(desk.wish, budget=7.0))
        assert rented.terminate_after == pytest.approx(start + 10 * 3600)

    def test_cards_over_the_budget_are_left_out(self, desk: Desk) -> None:
        rented = desk.rent(
            candidate("NVIDIA A100 80GB PCIe", price=1.60), candidate(), wish=_with(desk.wish, budget=1.0)
        )
        assert rented.candidate.gpu == RTX_4090


class TestAmbiguousCreates:
    def test_a_pod_made_in_silence_is_found_and_not_made_twice(
        self, desk: Desk, store: Store, server: RunPodServer
    ) -> None:
        server.faults.append(Fault("POST /v2/pods", "reset_after"))
        rented = desk.rent()
        assert creates(server) == 1
        assert list(store.pods) == [rented.pod.id]

    @pytest.mark.parametrize("kind", ["reset", "502", "html"])
    def test_a_create_that_came_to_nothing_is_asked_for_again_after_looking(
        self, desk: Desk, store: Store, server: RunPodServer, kind: str
    ) -> None:
        server.faults.append(Fault("POST /v2/pods", kind))
        rented = desk.rent()
        assert creates(server) == 2
        assert list(store.pods) == [rented.pod.id]
        between = [(seen.method, seen.path) for seen in server.seen]
        first = between.index(("POST", "/v2/pods"))
        assert between[first + 1 : first + 5] == [("GET", "/v2/pods")] * 4

    def test_a_twin_that_shows_up_late_is_handed_back(
        self, desk: Desk, store: Store, server: RunPodServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first create made a pod that the provider lists only after the second one."""
        server.faults.append(Fault("POST /v2/pods", "reset_after"))
        everything = store.all
        monkeypatch.setattr(store, "all", lambda: everything() if creates(server) > 1 else [])
        rented = desk.rent()
        assert creates(server) == 2
        assert list(store.pods) == [rented.pod.id]
        assert len(store.ended) == 1

    def test_after_a_doubt_a_refusal_still_looks_for_what_may_be_left(
        self, desk: Desk, store: Store, server: RunPodServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Made in silence, not listed at first, and then nothing is free for the second create."""
        server.faults.append(Fault("POST /v2/pods", "reset_after"))
        store.card(RTX_4090).free = {("SECURE", "US-KS-2"): 1}
        everything = store.all
        monkeypatch.setattr(store, "all", lambda: everything() if creates(server) > 1 else [])
        with pytest.raises(NoCapacity):
            desk.rent()
        assert store.pods == {}
        assert len(store.ended) == 1

    def test_while_the_list_is_away_nothing_is_asked_for_again(
        self, desk: Desk, store: Store, server: RunPodServer
    ) -> None:
        server.faults += [Fault("POST /v2/pods", "reset_after"), Fault("GET /v2/pods", "502", times=999)]
        with pytest.raises(RemoteError, match="may still be billed") as caught:
            desk.rent()
        assert creates(server) == 1
        assert desk.wish.marker in caught.value.message
        assert find_key(desk.wish.marker), "the pod may be there: its key must be kept"


class TestInterrupts:
    def test_ctrl_c_on_the_way_hands_the_pod_back(self, desk: Desk, store: Store) -> None:
        def interrupt(target: str, ask: Ask) -> None:
            raise KeyboardInterrupt

        desk.reach = interrupt
        with pytest.raises(KeyboardInterrupt):
            desk.rent()
        assert store.pods == {}
        assert len(store.ended) == 1

    def test_a_pod_that_can_not_be_handed_back_is_named(
        self, desk: Desk, store: Store, server: RunPodServer
    ) -> None:
        store.stuck_next = 1
        server.faults.append(Fault("DELETE /v2/pods", "502", times=999))
        with pytest.raises(RemoteError, match="may still be billed") as caught:
            desk.rent()
        (left,) = store.pods
        assert left in caught.value.message
        assert "finetui pods terminate" in caught.value.remedy


class TestRealSsh:
    """The pod behind a real sshd, whose host key changes with every start."""

    @pytest.fixture
    def backing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshdBacking]:
        require_sshd()
        config = tmp_path / "ssh_config"
        config.write_text("UserKnownHostsFile none\nGlobalKnownHostsFile none\n")
        monkeypatch.setenv("FINETUI_SSH_CONFIG", str(config))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        monkeypatch.setattr(rent_ssh, "LOG_QUIET_S", 0.5)
        backing = SshdBacking(tmp_path / "pods")
        yield backing
        backing.close()

    @pytest.fixture
    def real_desk(self, v2: RunPodV2, store: Store, clock: ManualClock, backing: SshdBacking) -> Desk:
        store.backing = backing
        return Desk(v2, clock)

    def test_the_own_key_logs_in_and_the_log_vouches_for_the_host(
        self, real_desk: Desk, v2: RunPodV2, store: Store
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

    def test_ssh_refused_for_ninety_seconds_is_waited_for(self, real_desk: Desk, store: Store) -> None:
        store.timings.sshd = 90
        rented = real_desk.rent()
        waited = [told.elapsed_s for told in real_desk.told if told.stage == "ssh"]
        assert rented.pod.id in store.pods
        assert 80 <= max(waited) <= 100

    def test_after_a_restart_a_new_port_and_a_new_host_key_are_no_riddle(
        self, real_desk: Desk, v2: RunPodV2, store: Store, clock: ManualClock
    ) -> None:
        rented = real_desk.rent()
        pod = store.pods[rented.pod.id]
        store.stop(pod)
        store.resume(pod)
        clock.advance(300)
        connect_pod(v2, pod.id, nobody_to_ask()).close()

    def test_a_stale_port_is_asked_for_again(
        self, real_desk: Desk, v2: RunPodV2, store: Store, clock: ManualClock
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
        self, real_desk: Desk, v2: RunPodV2, store: Store, backing: SshdBacking
    ) -> None:
        rented = real_desk.rent()
        backing.change_host_key(store.pods[rented.pod.id])
        with pytest.raises(HostKeyProblem, match="has changed"):
            connect_pod(v2, rented.pod.id, Ask(lambda question: True, lambda path: None))

    def test_a_key_that_the_log_does_not_show_is_refused_at_first_contact(
        self, real_desk: Desk, v2: RunPodV2, store: Store, backing: SshdBacking, clock: ManualClock
    ) -> None:
        pod = v2.create(_request(real_desk.wish, clock))
        clock.advance(300)
        backing.change_host_key(store.pods[pod.id])
        with pytest.raises(HostKeyProblem, match="is not the pod"):
            connect_pod(v2, pod.id, Ask(lambda question: True, lambda path: None))

    def test_without_a_log_the_user_is_asked(
        self, real_desk: Desk, server: RunPodServer, store: Store
    ) -> None:
        asked: list[HostKeyQuestion] = []

        def yes(question: HostKeyQuestion) -> bool:
            asked.append(question)
            return True

        server.faults.append(_LogsAway("GET /v2/pods"))
        rented = real_desk.rent(ask=Ask(yes, lambda path: None))
        (question,) = asked
        assert question.host == f"runpod-{rented.pod.id}"

    def test_a_user_who_says_no_gets_no_pod(
        self, real_desk: Desk, server: RunPodServer, store: Store
    ) -> None:
        server.faults.append(_LogsAway("GET /v2/pods"))
        with pytest.raises(HostKeyProblem, match="not known"):
            real_desk.rent(ask=nobody_to_ask())
        assert store.pods == {}

    def test_a_pod_that_is_gone_stopped_or_not_there_yet_says_so(
        self, real_desk: Desk, v2: RunPodV2, clock: ManualClock
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


def _with(wish: Wish, **changes: float) -> Wish:
    return replace(wish, **changes)


def _request(wish: Wish, clock: ManualClock):
    return PodRequest(
        name=wish.name, marker=wish.marker, gpu=RTX_4090, count=1, cloud="secure", image=wish.image,
        container_disk_gib=30, volume_gib=60, public_key=make_key(wish.marker),
        terminate_after=clock.now() + 36000,
    )  # fmt: skip
