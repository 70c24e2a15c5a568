"""Renting against the fake provider: one pod, ready, or none at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes.runpod import Fault, ManualClock, RunPodServer, Store
from tests.fakes.runpod.desk import A6000, H100, RTX_4090, Desk, candidate
from tests.fakes.runpod.texts import NO_DISK_SPACE, NO_INSTANCES
from tui.clouds.errors import NoCapacity, NoCredit, Rejected
from tui.clouds.runpod_v2 import RunPodV2
from tui.errors import CostGuardRefused, RemoteError, Unreachable
from tui.operations import rent_stages
from tui.operations.rent_keys import find_key
from tui.operations.rent_ssh import connect_pod
from tui.operations.rent_stages import LIMITS_S
from tui.operations.rent_wish import Wish
from tui.remote.ssh_ask import Ask


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


def _with(wish: Wish, **changes: float) -> Wish:
    return replace(wish, **changes)
