"""The REST adapter against a provider that behaves, misbehaves and breaks."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import traceback

import pytest

from tests.fakes.runpod import Fault, ManualClock, RunPodServer, Store
from tests.fakes.runpod.texts import NO_CREDIT, NO_DISK_SPACE, NO_FREE_GPUS, NO_INSTANCES, NO_RESOURCES
from tui.clouds import runpod_http
from tui.clouds.errors import (
    Ambiguous,
    CloudUnreachable,
    Forbidden,
    NoCapacity,
    NoCredit,
    NoKey,
    NoSuchPod,
    Rejected,
)
from tui.clouds.runpod_account import ApiKey, api_base
from tui.clouds.runpod_v2 import RunPodV2
from tui.errors import FinetuiError

GIB = 1024**3
RTX_4090 = "NVIDIA GeForce RTX 4090"


class TestOffers:
    def test_cards_have_price_memory_stock_and_places(self, v2: RunPodV2) -> None:
        offers = {(offer.gpu, offer.cloud): offer for offer in v2.offers(2)}
        offer = offers[RTX_4090, "secure"]
        assert (offer.name, offer.vram_bytes, offer.count) == ("RTX 4090", 24 * GIB, 2)
        assert offer.price_per_h == pytest.approx(1.40)
        assert (offer.stock, offer.data_centers) == ("high", ("US-KS-2", "EU-RO-1"))
        assert offers[RTX_4090, "community"].price_per_h == pytest.approx(0.70)

    def test_what_can_not_be_rented_is_not_offered(self, v2: RunPodV2) -> None:
        names = {(offer.name, offer.cloud) for offer in v2.offers(1)}
        assert ("RTX A6000", "secure") in names
        assert ("RTX A6000", "community") not in names, "no price there"
        assert not names & {("MI300X", "secure"), ("unknown", "secure")}, "no CUDA, no card"
        assert {offer.cloud for offer in v2.offers(8)} == {"secure"}, "community hosts have four at most"

    def test_a_card_out_of_stock_is_shown_as_such(self, v2: RunPodV2) -> None:
        (offer,) = [offer for offer in v2.offers(1) if offer.name == "H100 SXM" and offer.cloud == "secure"]
        assert (offer.stock, offer.data_centers) == ("none", ())

    def test_it_costs_one_round_trip(self, v2: RunPodV2, server: RunPodServer) -> None:
        v2.offers(1)
        assert sorted(seen.query["cloud"] for seen in server.seen) == ["COMMUNITY", "SECURE"]


class TestLife:
    def test_a_pod_from_create_to_terminate(
        self, v2: RunPodV2, store: Store, clock: ManualClock, request_for
    ) -> None:
        pod = v2.create(request_for())
        assert (pod.state, pod.name, pod.marker) == ("renting", "demo", "0123456789ab")
        assert (pod.gpu, pod.count, pod.price_per_h, pod.endpoint) == (RTX_4090, 1, 0.70, None)
        assert pod.created == clock.now()
        clock.advance(store.timings.pull)
        assert _now(v2, pod.id).state == "starting"
        clock.advance(store.timings.boot + store.timings.ports)
        running = _now(v2, pod.id)
        assert running.state == "running"
        assert running.endpoint is not None
        assert running.endpoint.port == store.pods[pod.id].public_port
        v2.stop(pod.id)
        stopped = _now(v2, pod.id)
        assert (stopped.state, stopped.price_per_h, stopped.endpoint) == ("stopped", 0.0, None)
        v2.stop(pod.id)
        assert v2.resume(pod.id).state == "renting"
        v2.resume(pod.id)
        v2.terminate(pod.id)
        assert v2.get(pod.id) is None
        v2.terminate(pod.id)
        with pytest.raises(NoSuchPod):
            v2.stop(pod.id)

    def test_what_the_pod_gets(self, v2: RunPodV2, store: Store, server: RunPodServer, request_for) -> None:
        pod = v2.create(request_for(data_centers=("EU-RO-1",)))
        made = store.pods[pod.id]
        assert made.data_center == "EU-RO-1"
        assert made.wanted.env["PUBLIC_KEY"] == "ssh-ed25519 AAAA finetui"
        assert (made.wanted.disk_gb, made.wanted.volume_gb, made.wanted.mount_path) == (20, 50, "/workspace")
        assert made.wanted.ports == ("22/tcp",)
        assert made.wanted.min_cuda == "13.0"
        (create,) = server.requests("POST", "/v2/pods")
        assert store.account_key not in str(create.body)

    def test_a_network_volume_takes_the_place_of_the_disk(
        self, v2: RunPodV2, store: Store, request_for
    ) -> None:
        pod = v2.create(request_for(network_volume="vol-eu"))
        assert pod.volume == "vol-eu"
        assert store.pods[pod.id].data_center == "EU-RO-1"
        assert store.pods[pod.id].wanted.volume_gb == 0

    def test_every_page_of_the_list_is_read(
        self, v2: RunPodV2, store: Store, server: RunPodServer, request_for
    ) -> None:
        made = {v2.create(request_for(marker=f"{number:012x}")).id for number in range(5)}
        store.page_size = 2
        assert {pod.id for pod in v2.list()} == made
        assert len(server.requests("GET", "/v2/pods")) == 3

    def test_pods_of_others_have_no_marker(self, v2: RunPodV2, store: Store, request_for) -> None:
        pod = v2.create(request_for())
        store.pods[pod.id].wanted.name = "my notebook"
        (found,) = v2.list()
        assert (found.name, found.marker) == ("my notebook", "")

    def test_a_resumed_pod_tells_a_new_port_after_the_old_one(
        self, v2: RunPodV2, store: Store, clock: ManualClock, request_for
    ) -> None:
        pod = v2.create(request_for())
        clock.advance(200)
        old = _now(v2, pod.id).endpoint
        store.stale_polls = 2
        v2.stop(pod.id)
        v2.resume(pod.id)
        clock.advance(200)
        told = [_now(v2, pod.id).endpoint for _ in range(2)]
        assert told[0] == old
        assert told[1] != old

    def test_a_resumed_pod_may_come_back_without_its_gpus(
        self, v2: RunPodV2, store: Store, request_for
    ) -> None:
        pod = v2.create(request_for())
        v2.stop(pod.id)
        store.resume_gpus = 0
        assert v2.resume(pod.id).count == 0

    def test_a_resume_on_a_full_machine(self, v2: RunPodV2, store: Store, request_for) -> None:
        pod = v2.create(request_for())
        v2.stop(pod.id)
        store.machine_full = True
        with pytest.raises(NoCapacity) as caught:
            v2.resume(pod.id)
        assert NO_FREE_GPUS in caught.value.cause
        assert "another pod" in caught.value.remedy

    def test_without_credit_a_pod_without_a_network_volume_is_lost(
        self, v2: RunPodV2, store: Store, clock: ManualClock, request_for
    ) -> None:
        lost, kept = (
            v2.create(request_for()),
            v2.create(request_for(marker="b" * 12, network_volume="vol-eu")),
        )
        store.balance = 0.1
        clock.advance(3600)
        assert v2.get(lost.id) is None
        assert _now(v2, kept.id).state == "stopped"


class TestCreateFails:
    @pytest.mark.parametrize("text", [NO_INSTANCES, NO_RESOURCES, NO_DISK_SPACE])
    def test_no_capacity_is_told_by_its_text(
        self, v2: RunPodV2, server: RunPodServer, request_for, text: str
    ) -> None:
        server.faults.append(Fault("POST /v2/pods", "400", text=text))
        with pytest.raises(NoCapacity) as caught:
            v2.create(request_for())
        assert text in caught.value.cause
        assert caught.value.exit_code == 1

    def test_other_400s_are_rejections(self, v2: RunPodV2, server: RunPodServer, request_for) -> None:
        with pytest.raises(Rejected, match="gpu type not found"):
            v2.create(request_for(gpu="no such card"))

    def test_no_credit(self, v2: RunPodV2, store: Store, request_for) -> None:
        store.balance = 0.5
        with pytest.raises(NoCredit, match=NO_CREDIT) as caught:
            v2.create(request_for())
        assert caught.value.exit_code == 4
        assert "nothing was rented" in caught.value.message

    def test_a_forbidden_pool(self, v2: RunPodV2, store: Store, request_for) -> None:
        store.forbidden_clouds = {"SECURE"}
        with pytest.raises(Forbidden):
            v2.create(request_for())

    def test_a_bad_body_is_not_sent_again(self, v2: RunPodV2, server: RunPodServer, request_for) -> None:
        with pytest.raises(Rejected, match="does not understand") as caught:
            v2.create(request_for(count=0))
        assert "/gpu/count: minimum 1" in caught.value.cause
        assert len(server.requests("POST", "/v2/pods")) == 1

    @pytest.mark.parametrize("kind", ["500", "502", "reset", "reset_after", "html", "empty"])
    def test_whatever_leaves_doubt_is_said_to_and_sent_once(
        self, v2: RunPodV2, store: Store, server: RunPodServer, request_for, kind: str
    ) -> None:
        server.faults.append(Fault("POST /v2/pods", kind))
        with pytest.raises(Ambiguous, match="did not say"):
            v2.create(request_for())
        assert len(server.requests("POST", "/v2/pods")) == 1
        assert len(store.pods) == (1 if kind == "reset_after" else 0)

    def test_a_create_without_an_answer_in_time_is_in_doubt(
        self, v2: RunPodV2, server: RunPodServer, request_for, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runpod_http, "_CREATE_TIMEOUT", 0.2)
        server.faults.append(Fault("POST /v2/pods", "hang"))
        with pytest.raises(Ambiguous, match="no answer in time"):
            v2.create(request_for())

    @pytest.mark.parametrize("pod", ["", "..", "a/b", "a?b=c", "a%2e"])
    def test_an_id_can_not_lead_elsewhere(self, v2: RunPodV2, server: RunPodServer, pod: str) -> None:
        assert v2.get(pod) is None
        for act in (v2.stop, v2.resume):
            with pytest.raises(NoSuchPod):
                act(pod)
        assert server.seen == []

    def test_too_many_requests_wait_as_told(
        self, v2: RunPodV2, server: RunPodServer, request_for, waits: list[float]
    ) -> None:
        server.faults.append(Fault("POST /v2/pods", "429", times=2, retry_after=7))
        v2.create(request_for())
        assert waits == [7, 7]

    def test_spot_is_for_the_other_api(self, v2: RunPodV2, server: RunPodServer, request_for) -> None:
        with pytest.raises(Rejected, match="graphql"):
            v2.create(request_for(spot_bid_per_h=0.3))
        assert server.seen == []

    def test_the_account_key_never_goes_to_a_pod(
        self, v2: RunPodV2, store: Store, server: RunPodServer, request_for
    ) -> None:
        with pytest.raises(Rejected, match="must not go to a pod") as caught:
            v2.create(request_for(env={"RUNPOD_API_KEY": store.account_key}))
        assert store.account_key not in str(caught.value)
        assert server.seen == []


class TestRequestsFail:
    @pytest.mark.parametrize("kind", ["429", "500", "502", "reset"])
    def test_what_passes_is_waited_for(
        self, v2: RunPodV2, server: RunPodServer, waits: list[float], kind: str
    ) -> None:
        server.faults.append(Fault("GET /v2/pods", kind, times=3, retry_after=None))
        assert v2.list() == ()
        assert waits == [1, 2, 4]

    @pytest.mark.parametrize(
        ("kind", "words"), [("429", "too many"), ("502", "502 Bad Gateway"), ("reset", ""), ("html", "JSON")]
    )
    def test_what_does_not_pass_ends_in_a_message(
        self, v2: RunPodV2, server: RunPodServer, kind: str, words: str
    ) -> None:
        server.faults.append(Fault("GET /v2/pods", kind, times=99))
        with pytest.raises(CloudUnreachable) as caught:
            v2.list()
        assert words in str(caught.value)
        assert caught.value.exit_code == 3
        assert caught.value.remedy

    def test_what_the_provider_says_can_not_move_the_cursor(self, v2: RunPodV2, server: RunPodServer) -> None:
        server.faults.append(Fault("GET /v2/pods", "400", text="no\x1b[2J\n\nway \x07"))
        with pytest.raises(Rejected) as caught:
            v2.list()
        assert caught.value.cause == "no [2J way"

    def test_a_long_wait_is_not_waited_for_without_end(
        self, v2: RunPodV2, server: RunPodServer, waits: list[float]
    ) -> None:
        server.faults.append(Fault("GET /v2/pods", "429", retry_after=86400))
        v2.list()
        assert waits == [60]

    def test_a_server_that_never_answers(self, v2: RunPodV2, server: RunPodServer) -> None:
        v2._http.client.timeout = 0.1
        server.faults.append(Fault("GET /v2/pods", "hang", times=99))
        with pytest.raises(CloudUnreachable, match="no answer in time"):
            v2.list()

    def test_nobody_there(self, server: RunPodServer, store: Store) -> None:
        cloud = RunPodV2(ApiKey(store.account_key), "http://127.0.0.1:9", lambda seconds: None)
        with pytest.raises(CloudUnreachable, match="refused"):
            cloud.list()

    def test_a_wrong_key(self, server: RunPodServer) -> None:
        with pytest.raises(NoKey, match="does not take the API key") as caught:
            RunPodV2(ApiKey("rpa_wrong"), api_base()).list()
        assert caught.value.exit_code == 2
        assert "rpa_wrong" not in str(caught.value)

    def test_a_key_without_the_permission(
        self, v2: RunPodV2, store: Store, server: RunPodServer, request_for
    ) -> None:
        pod = v2.create(request_for())
        with pytest.raises(Forbidden, match="may not list the pods"):
            RunPodV2(ApiKey(store.pods[pod.id].api_key), api_base()).list()

    def test_the_key_shows_itself_nowhere(
        self, v2: RunPodV2, store: Store, server: RunPodServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        server.faults.append(Fault("GET /v2/pods", "reset", times=99))
        with pytest.raises(FinetuiError) as caught:
            v2.list()
        text = "".join(traceback.format_exception(caught.value, chain=True))
        assert store.account_key not in text + caplog.text + repr(v2.__dict__) + repr(v2._http.__dict__)


class TestOddAnswers:
    def test_pods_are_read_from_whatever_is_told(self, v2: RunPodV2, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = {
            "pods": [
                {"id": "a"},
                {"id": "b", "status": "HIBERNATING", "cost": None, "gpu": None, "ssh": None, "mounts": []},
                {"id": "c", "runtime": {"ports": [{"private": 22, "public": 1234, "ip": "1.2.3.4"}]}},
                {"name": "no id"},
                "not a pod",
            ],
            "pagination": {"hasNextPage": True, "nextCursor": None},
            "news": [1, 2, 3],
        }
        monkeypatch.setattr(v2._http, "ask", lambda *_: answers)
        found = v2.list()
        assert [(pod.id, pod.state) for pod in found] == [
            ("a", "starting"),
            ("b", "starting"),
            ("c", "running"),
        ]
        assert str(found[2].endpoint) == "root@1.2.3.4:1234"
        for field in dataclasses.fields(found[0]):
            assert type(getattr(found[1], field.name)) is type(getattr(found[0], field.name))

    @pytest.mark.parametrize("answer", [[], {}, {"pods": None}, {"pods": {}}, "text", 3])
    def test_a_list_of_nothing(self, v2: RunPodV2, monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
        monkeypatch.setattr(v2._http, "ask", lambda *_: answer)
        assert v2.list() == ()
        assert v2.offers(1) == ()


class TestLogs:
    def test_lines_come_from_the_start_and_end_when_it_is_quiet(
        self, v2: RunPodV2, store: Store, clock: ManualClock, request_for
    ) -> None:
        pod = v2.create(request_for())
        clock.advance(200)
        lines = list(v2.logs(pod.id, 0.3))
        assert len(lines) == 1
        assert "SHA256:" in lines[0], "system lines are not the container's"

    def test_new_lines_arrive_while_it_is_read(
        self, v2: RunPodV2, store: Store, clock: ManualClock, request_for
    ) -> None:
        pod = v2.create(request_for())
        clock.advance(200)
        stream = v2.logs(pod.id, 5.0)
        next(stream)
        store._log(store.pods[pod.id], "container", "hello")
        assert next(stream) == "hello"
        store.terminate(store.pods[pod.id])
        assert list(stream) == []

    def test_a_broken_stream_goes_on_where_it_broke(
        self, v2: RunPodV2, store: Store, server: RunPodServer, request_for
    ) -> None:
        pod = store.pods[v2.create(request_for()).id]
        for number in range(4):
            store._log(pod, "container", f"line {number}")
        server.stream_limit = 2
        assert list(itertools.islice(v2.logs(pod.id, 5.0), 4)) == [f"line {number}" for number in range(4)]
        resumed = [seen for seen in server.seen if seen.headers.get("Last-Event-ID")]
        assert resumed

    def test_no_log_of_no_pod(self, v2: RunPodV2) -> None:
        with pytest.raises(NoSuchPod):
            list(v2.logs("abc", 1.0))


def _now(cloud: RunPodV2, pod_id: str):
    pod = cloud.get(pod_id)
    assert pod is not None
    return pod
