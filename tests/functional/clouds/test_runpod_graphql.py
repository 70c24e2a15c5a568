"""The real SDK, and our adapter over it, against the provider's GraphQL endpoint."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from graphql import parse, print_ast

from tests.fakes.runpod import Fault, ManualClock, RunPodServer, Store
from tests.fakes.runpod.texts import NO_FREE_GPUS, NO_INSTANCES, TRANSIENT
from tui.clouds.errors import Ambiguous, CloudUnreachable, NoCapacity, NoCredit, NoKey, NoSuchPod, Rejected
from tui.clouds.runpod_account import ApiKey, api_base, load_key
from tui.clouds.runpod_graphql import RunPodGraphql
from tui.clouds.runpod_http import RunPodHttp
from tui.clouds.runpod_sdk import Sdk
from tui.errors import InvalidInput

GOLDEN = Path(__file__).with_name("sdk_queries.graphql")
RTX_4090 = "NVIDIA GeForce RTX 4090"


@pytest.fixture
def graphql(server: RunPodServer, clock: ManualClock, waits: list[float]) -> RunPodGraphql:
    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    return RunPodGraphql(load_key(), Sdk(load_key()), RunPodHttp(load_key(), api_base()), sleep)


def test_the_sdk_sends_the_queries_we_know(server: RunPodServer, store: Store) -> None:
    """An SDK that asks otherwise than the one that was read must be read again."""
    import runpod

    key = store.account_key
    sdk = Sdk(ApiKey(key))
    pod = sdk.call(
        "create_pod", "golden", "runpod/pytorch", RTX_4090, doing="rent",
    )["id"]  # fmt: skip
    runpod.get_gpus(api_key=key)
    runpod.get_pods(api_key=key)
    assert runpod.get_pod(pod, api_key=key)["id"] == pod
    assert runpod.get_user(api_key=key)["id"] == "user_1"
    sdk.call("stop_pod", pod, doing="stop")
    sdk.call("resume_pod", pod, 1, doing="start")
    assert sdk.call("terminate_pod", pod, doing="end") is None
    assert runpod.get_pod(pod, api_key=key) is None
    sent = [print_ast(parse(seen.body["query"].replace(pod, "POD"))) for seen in server.seen]
    assert "\n\n".join(sent) + "\n" == GOLDEN.read_text()
    assert {seen.headers["User-Agent"].split("/")[0] for seen in server.seen} == {"RunPod-Python-SDK"}


def test_importing_the_sdk_leaves_the_terminal_and_the_loggers_alone() -> None:
    program = """
import logging, sys
before = logging.getLogger().handlers[:], logging.getLogger().level
from tui.clouds.runpod_sdk import load
assert "runpod" not in sys.modules
load()
assert (logging.getLogger().handlers, logging.getLogger().level) == before, logging.getLogger().handlers
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_the_extra_the_remedy_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "runpod", None)
    with pytest.raises(InvalidInput, match=r"finetui\[runpod\]"):
        Sdk(ApiKey("rpa_x"))


class TestPods:
    def test_a_pod_from_create_to_terminate(
        self, graphql: RunPodGraphql, store: Store, clock: ManualClock, request_for
    ) -> None:
        pod = graphql.create(request_for())
        assert (pod.state, pod.name, pod.marker) == ("renting", "demo", "0123456789ab")
        assert (pod.gpu, pod.count, pod.price_per_h, pod.created) == ("RTX 4090", 1, 0.70, clock.now())
        clock.advance(store.timings.pull)
        assert _now(graphql, pod.id).state == "starting"
        clock.advance(store.timings.boot + store.timings.ports)
        running = _now(graphql, pod.id)
        assert running.state == "running"
        assert str(running.endpoint) == f"root@127.0.0.1:{store.pods[pod.id].public_port}"
        graphql.stop(pod.id)
        stopped = _now(graphql, pod.id)
        assert (stopped.state, stopped.price_per_h, stopped.endpoint) == ("stopped", 0.0, None)
        assert graphql.resume(pod.id).state == "renting"
        assert graphql.resume(pod.id).state == "renting"
        graphql.terminate(pod.id)
        assert graphql.get(pod.id) is None
        graphql.terminate(pod.id)
        with pytest.raises(NoSuchPod):
            graphql.stop(pod.id)
        with pytest.raises(NoSuchPod):
            graphql.resume(pod.id)

    def test_the_provider_ends_the_pod_at_its_deadline(
        self, graphql: RunPodGraphql, store: Store, clock: ManualClock, request_for
    ) -> None:
        pod = graphql.create(request_for(terminate_after=clock.now() + 7200))
        clock.advance(7199)
        assert graphql.get(pod.id) is not None
        clock.advance(1)
        assert graphql.get(pod.id) is None
        assert store.ended[pod.id] == "terminateAfter"

    def test_quotes_and_newlines_reach_the_pod_unharmed(
        self, graphql: RunPodGraphql, store: Store, request_for
    ) -> None:
        odd = {"A": 'say "hi"\nand }] leave', "B": "back\\slash \u00e9 \U0001f600", "C": '", value: "x'}
        pod = graphql.create(request_for(env=odd))
        assert store.pods[pod.id].env.items() >= odd.items()

    def test_the_account_key_never_goes_to_a_pod(
        self, graphql: RunPodGraphql, store: Store, server: RunPodServer, request_for
    ) -> None:
        with pytest.raises(Rejected):
            graphql.create(request_for(env={"X": f"key={store.account_key}"}))
        assert server.seen == []

    @pytest.mark.parametrize("pod", ['a"}){id} x(', "a b", "", "a\n"])
    def test_an_id_can_not_change_a_query(
        self, graphql: RunPodGraphql, server: RunPodServer, pod: str
    ) -> None:
        for act in (graphql.stop, graphql.terminate):
            with pytest.raises(NoSuchPod):
                act(pod)
        assert not [seen for seen in server.seen if "mutation" in seen.body["query"]]

    def test_spot_at_a_bid(self, graphql: RunPodGraphql, store: Store, request_for) -> None:
        pod = graphql.create(request_for(gpu="NVIDIA RTX A6000", spot_bid_per_h=0.25))
        assert pod.price_per_h == 0.25
        store.reclaim(store.pods[pod.id])
        assert _now(graphql, pod.id).state == "stopped"


def test_the_log_comes_from_the_other_api(
    graphql: RunPodGraphql, store: Store, clock: ManualClock, request_for
) -> None:
    pod = graphql.create(request_for())
    clock.advance(300)
    assert "SHA256:" in next(graphql.logs(pod.id, 1.0))


class TestMoney:
    def test_the_balance_falls_with_time(
        self, graphql: RunPodGraphql, store: Store, clock: ManualClock, request_for
    ) -> None:
        graphql.create(request_for())
        clock.advance(1800)
        found = graphql.balance()
        assert found is not None
        assert (found.dollars, found.spend_per_h) == (pytest.approx(24.65), pytest.approx(0.70))

    def test_offers_have_stock_and_spot_prices(self, graphql: RunPodGraphql, server: RunPodServer) -> None:
        offers = {(offer.name, offer.cloud): offer for offer in graphql.offers(2)}
        assert offers["RTX A6000", "secure"].spot_price_per_h == pytest.approx(0.50)
        assert offers["RTX 4090", "secure"].price_per_h == pytest.approx(1.40)
        assert offers["RTX 4090", "secure"].stock == "high"
        assert offers["H100 SXM", "secure"].stock == "none"
        assert ("MI300X", "secure") not in offers
        assert len(server.seen) == 1


class TestFailures:
    def test_a_wrong_key(self, server: RunPodServer) -> None:
        with pytest.raises(NoKey):
            key = ApiKey("rpa_wrong")
            RunPodGraphql(key, Sdk(key), RunPodHttp(key, api_base())).list()

    def test_the_texts_of_a_create(self, graphql: RunPodGraphql, store: Store, request_for) -> None:
        with pytest.raises(NoCapacity, match="no longer any instances") as caught:
            graphql.create(request_for(gpu="NVIDIA H100 80GB HBM3"))
        assert NO_INSTANCES in caught.value.cause
        with pytest.raises(Rejected):
            graphql.create(request_for(gpu="no such card"))
        store.balance = 0.1
        with pytest.raises(NoCredit):
            graphql.create(request_for())

    def test_a_resume_on_a_full_machine(self, graphql: RunPodGraphql, store: Store, request_for) -> None:
        pod = graphql.create(request_for())
        graphql.stop(pod.id)
        store.machine_full = True
        with pytest.raises(NoCapacity, match=NO_FREE_GPUS):
            graphql.resume(pod.id)

    @pytest.mark.parametrize("kind", ["502", "429", "reset", "reset_after", "html", "empty", "403"])
    def test_whatever_leaves_doubt_about_a_create(
        self, graphql: RunPodGraphql, store: Store, server: RunPodServer, request_for, kind: str
    ) -> None:
        server.faults.append(Fault("POST /graphql", kind))
        with pytest.raises(Ambiguous):
            graphql.create(request_for())
        assert len(server.seen) == 1
        assert len(store.pods) == (1 if kind == "reset_after" else 0)

    @pytest.mark.parametrize("kind", ["502", "429", "reset", "html"])
    def test_what_passes_is_waited_for(
        self, graphql: RunPodGraphql, server: RunPodServer, waits: list[float], kind: str
    ) -> None:
        server.faults.append(Fault("POST /graphql", kind, times=3))
        assert graphql.list() == ()
        assert waits == [1, 2, 4]
        server.faults.append(Fault("POST /graphql", kind, times=99))
        with pytest.raises(CloudUnreachable, match="did not list the pods"):
            graphql.list()

    def test_something_went_wrong_is_transient(
        self, graphql: RunPodGraphql, monkeypatch: pytest.MonkeyPatch, request_for, store: Store
    ) -> None:
        def fail(*_: object) -> None:
            from tests.fakes.runpod.store import Refusal

            raise Refusal(400, TRANSIENT)

        monkeypatch.setattr(store, "_place", fail)
        with pytest.raises(Ambiguous, match="Something went wrong"):
            graphql.create(request_for())

    def test_the_key_and_the_environment_show_themselves_nowhere(
        self, graphql: RunPodGraphql, store: Store, request_for
    ) -> None:
        secret = "hf_" + "secret"
        with pytest.raises(NoCapacity) as caught:
            graphql.create(request_for(gpu="NVIDIA H100 80GB HBM3", env={"HF_TOKEN": secret}))
        text = "".join(traceback.format_exception(caught.value, chain=True)) + repr(vars(graphql))
        assert store.account_key not in text
        assert secret not in text


def _now(cloud: RunPodGraphql, pod_id: str):
    pod = cloud.get(pod_id)
    assert pod is not None
    return pod
