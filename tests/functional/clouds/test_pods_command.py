"""``finetui pods`` as a user runs it: the installed command, the fake provider, a real sshd, a real agent."""

from __future__ import annotations

import getpass
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from remote_agent.protocol import RunStatus
from tests.fakes.command_line import FINETUI, finetui
from tests.fakes.runpod import Fault, RealClock, RunPodServer, Store, Timings
from tests.fakes.runpod.backing import SshdBacking
from tests.fakes.waiting import wait_for
from tui.operations.launch import launch_folder
from tui.operations.targets import connect
from tui.paths import config_dir
from tui.state.history import History
from tui.state.run_id import new_run_id

TREE = str(Path(__file__).parents[2] / "fakes" / "trainer_tree.py")


@pytest.fixture
def store(backing: SshdBacking) -> Store:
    return Store(RealClock(), backing, Timings(pull=0.2, boot=0.2, ports=0.1, sshd=0.5))


@pytest.fixture(autouse=True)
def pods_are_machines_of_their_own(
    server: RunPodServer, backing: SshdBacking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod's agent does not take the laptop's place, and its guard asks the fake."""
    monkeypatch.delenv("FINETUI_STATE_DIR")
    backing.env["FINETUI_RUNPOD_API"] = server.url


def create(*more: str) -> list[str]:
    return ["pods", "create", "--preset", "demo", "--gpu", "rtx 4090", *more]


def launch(target: str, folder: Path, *options: str) -> str:
    folder.mkdir()
    (folder / "settings.yaml").write_text("a: 1\n")
    job = {
        "schema": 1,
        "kind": "train",
        "preset": "fake",
        "model": "none",
        "trainer": "fake",
        "ranks": 1,
        "environment": None,
        "steps": [{"name": "train", "argv": [sys.executable, TREE, *options], "env": {}}],
        "resume": {"step": "train", "argv": ["--resume", "{checkpoint}"]},
        "config": {},
    }
    with connect(target) as client:
        return launch_folder(client, job, folder).run


@pytest.mark.slow
def test_from_nothing_to_an_agent_and_back(server: RunPodServer, store: Store, backing: SshdBacking) -> None:
    done = finetui(*create("--json", "--budget", "7"))
    assert done.code == 0, done.err
    pod = done.json
    assert (pod["name"], pod["gpu"], pod["count"], pod["price_per_h"]) == (
        "demo",
        "NVIDIA GeForce RTX 4090",
        1,
        0.7,
    )
    assert pod["terminate_after"] > pod["created"]
    assert pod["guarded"] is True
    with connect(pod["target"]) as client:
        guard = client.request("guard.get")
    assert guard["armed"]
    assert guard["config"]["idle_s"] == 3600
    assert 9 * 3600 < guard["config"]["deadline_in_s"] < 10 * 3600 - 1000, "time to save before the end"
    assert guard["config"]["price_per_h"] == 0.7
    for stage in ("renting", "pulling", "ssh", "agent"):
        assert stage in done.err
    made = store.pods[pod["pod"]]
    assert "/start.sh" in made.wanted.args
    assert made.wanted.min_cuda == "13.0", "what the pinned torch was built for"

    doctor = finetui("doctor", pod["target"], "--json")
    assert doctor.code in (0, 1), doctor.err
    assert {finding["name"] for finding in doctor.json}

    listed = finetui("pods", "list", "--json").json
    (entry,) = listed["pods"]
    assert (entry["pod"], entry["ours"], entry["orphan"]) == (pod["pod"], True, True)
    assert pod["pod"] in finetui("pods", "list").err, "an orphan is told of with the way to end it"

    again = finetui(*create())
    assert again.code == 2
    assert "already" in again.err

    key = config_dir() / "pods"
    assert [*key.iterdir()]
    assert finetui("pods", "stop", "demo").code == 0
    resumed = finetui("pods", "resume", pod["target"], "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json["guarded"] is True
    assert resumed.json["terminate_after"] > pod["terminate_after"]
    assert finetui("pods", "terminate", pod["pod"]).code == 0
    assert store.pods == {}
    assert not [*key.iterdir()], "the key of a pod that is gone"
    gone = finetui("doctor", pod["target"])
    assert gone.code == 3
    assert "is gone" in gone.err


def test_the_account_key_is_nowhere_on_the_pod(
    server: RunPodServer, store: Store, backing: SshdBacking
) -> None:
    pod = finetui(*create("--json")).json["pod"]
    finetui("doctor", f"runpod:{pod}")
    secret = store.account_key.encode()
    root = backing.root / pod
    assert not [path for path in root.rglob("*") if path.is_file() and secret in path.read_bytes()]
    mark = f"FINETUI_STATE_DIR={root}".encode()
    seen = 0
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = environ.read_bytes()
        except OSError:
            continue
        if mark in variables:
            seen += 1
            assert secret not in variables
            assert secret not in environ.with_name("cmdline").read_bytes()
    assert seen, "the agent runs on the pod"


def test_a_pod_whose_key_does_not_work_is_said_to_be_unguarded(
    server: RunPodServer, store: Store, backing: SshdBacking
) -> None:
    backing.env["FINETUI_POD_ENVIRON"] = "/dev/null"
    done = finetui(*create("--json"))
    assert done.code == 0
    assert done.json["guarded"] is False
    assert "not armed" in done.err
    assert "RUNPOD_API_KEY" in done.err


@pytest.mark.slow
def test_a_live_run_keeps_its_pod(server: RunPodServer, store: Store) -> None:
    pod = finetui(*create("--json")).json["pod"]
    run = new_run_id()
    History().remember(f"runpod:{pod}", RunStatus(run, "running"))
    (entry,) = finetui("pods", "list", "--json").json["pods"]
    assert (entry["runs"], entry["orphan"]) == ([run], False)
    refused = finetui("pods", "terminate", pod)
    assert refused.code == 2
    assert run in refused.err
    assert pod in store.pods
    assert finetui("pods", "terminate", pod, "--force").code == 0
    assert store.pods == {}


@pytest.mark.slow
def test_a_run_ends_and_its_pod_ends_itself_while_nobody_is_connected(
    server: RunPodServer, store: Store, tmp_path: Path
) -> None:
    done = finetui("pods", "create", "--preset", "demo", "--json")
    assert done.code == 0, done.err
    pod = done.json
    target = pod["target"]
    guard = {
        "actions": {"finished_detached": "terminate", "finished_attached": "terminate"},
        "warn_s": 2.0,
        "may_be_lost": True,
        "price_per_h": pod["price_per_h"],
    }
    with connect(target) as client:
        assert client.request("guard.set", {"guard": guard})["checked"] == ""
    run = launch(target, tmp_path / "prepared", "--steps", "200", "--step-s", "0.05")
    (entry,) = finetui("pods", "list", "--json").json["pods"]
    assert (entry["runs"], entry["orphan"]) == ([run], False)
    status = finetui("status", run, "--json").json
    assert (status["total"], status["target"]) == (200, target)
    wait_for(lambda: pod["pod"] not in store.pods, "the pod's own end", timeout_s=120)
    own = [
        seen
        for seen in server.seen
        if seen.headers.get("User-Agent", "").startswith("finetui/") and seen.method == "POST"
    ]
    assert own, "the guard asked, with the pod's own key"
    assert store.account_key not in own[0].headers["Authorization"]
    gone = finetui("status", run)
    assert gone.code == 3
    assert "is gone" in gone.err
    assert finetui("pods", "list", "--json").json["pods"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_renting_that_is_cut_short_leaves_no_pod(
    server: RunPodServer, store: Store, number: signal.Signals
) -> None:
    store.timings.pull = 3600
    process = subprocess.Popen([FINETUI, *create()], stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        wait_for(lambda: store.pods or process.poll() is not None, "a pod")
        assert process.poll() is None, process.communicate()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert store.pods == {}
    assert len(store.ended) == 1


class TestRefusals:
    """Nothing is rented, and the reason is said."""

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (create("--budget", "0.3"), 4, "less than one hour"),
            (create("--hours", "0.5"), 4, "one hour"),
            (["pods", "create", "--gpu", "rtx 9090"], 2, "no card 'rtx 9090'"),
            (
                ["pods", "create", "--preset", "phi-2-full", "--gpus", "1", "--gpu", "RTX 4090"],
                2,
                "does not fit",
            ),
            (["pods", "create", "--gpu", "H100 SXM"], 1, "in stock"),
            (create("--data-center", "MARS-1"), 1, "US-KS-2"),
            (create("--name", "No Spaces!"), 2, "can't be a pod's name"),
            (create("--spot"), 1, "graphql"),
            (["pods", "create", "--preset", "no-such"], 2, "no preset"),
            (["pods", "create"], 2, "what for"),
            (["pods", "terminate", "nobody"], 2, "no pod 'nobody'"),
            (["pods", "stop"], 2, "needs a pod"),
            (["pods", "list", "abc"], 2, "takes no pod"),
        ],
    )
    def test_bad_wishes(
        self, server: RunPodServer, store: Store, arguments: list[str], code: int, words: str
    ) -> None:
        done = finetui(*arguments)
        assert done.code == code, done.err
        assert words in done.err
        assert "fix:" in done.err
        assert store.pods == {}
        assert server.requests("POST", "/v2/pods") == []

    def test_no_key(self, server: RunPodServer) -> None:
        done = finetui("pods", "offers", RUNPOD_API_KEY="")
        assert done.code == 2
        assert "no RunPod API key" in done.err
        assert server.seen == []

    def test_a_wrong_key(self, server: RunPodServer) -> None:
        done = finetui(*create(), RUNPOD_API_KEY="rpa_wrong")
        assert done.code == 2
        assert "does not take the API key" in done.err
        assert "rpa_wrong" not in done.err

    def test_no_credit(self, server: RunPodServer, store: Store) -> None:
        store.balance = 0.1
        done = finetui(*create("--json"))
        assert done.code == 4
        error = json.loads(done.err.splitlines()[-1])["error"]
        assert error["exit_code"] == 4
        assert "credit" in error["message"]
        assert store.pods == {}

    def test_a_provider_that_is_down(self, server: RunPodServer) -> None:
        server.faults.append(Fault("GET /v2", "502", times=999))
        done = finetui("pods", "list")
        assert done.code == 3
        assert "502" in done.err


class TestGraphql:
    """The other API, chosen in the settings."""

    @pytest.fixture(autouse=True)
    def chosen(self, server: RunPodServer) -> None:
        config_dir().mkdir(parents=True, exist_ok=True)
        (config_dir() / "config.toml").write_text('runpod_api = "graphql"\n')

    def test_the_balance_is_shown(self, server: RunPodServer, store: Store) -> None:
        done = finetui("pods", "list", "--json")
        assert done.code == 0, done.err
        assert done.json == {"pods": [], "balance": {"dollars": 25.0, "spend_per_h": 0.0}}
        assert done.err == "", "the SDK prints nothing"
        assert {seen.path for seen in server.seen} == {"/graphql"}

    def test_too_little_credit_is_noticed_before_anything_is_asked_for(
        self, server: RunPodServer, store: Store
    ) -> None:
        store.balance = 0.1
        done = finetui(*create())
        assert done.code == 4
        assert "$0.10" in done.err
        assert not [seen for seen in server.seen if "mutation" in seen.body["query"]]

    @pytest.mark.slow
    @pytest.mark.skipif(getpass.getuser() != "root", reason="this API tells no user name: pods log in root")
    def test_a_pod_at_the_spot_price_with_a_deadline_that_the_provider_keeps(
        self, server: RunPodServer, store: Store
    ) -> None:
        done = finetui("pods", "create", "--gpu", "RTX A6000", "--spot", "--hours", "2", "--json")
        assert done.code == 0, done.err
        pod = done.json
        assert (pod["price_per_h"], pod["guarded"]) == (0.25, True)
        made = store.pods[pod["pod"]]
        assert made.wanted.bid == 0.25
        assert made.wanted.args == ""
        assert made.wanted.terminate_after == pytest.approx(made.created + 7200, abs=60)

    def test_spot_prices_are_offered(self, server: RunPodServer) -> None:
        offers = finetui("pods", "offers", "--json").json
        assert {offer["name"]: offer["spot_price_per_h"] for offer in offers}["RTX A6000"] == 0.25


class TestOffers:
    def test_with_data_the_run_has_hours_and_a_price(self, server: RunPodServer, tmp_path: Path) -> None:
        data = tmp_path / "d.jsonl"
        row = json.dumps({"instruction": "word " * 200, "output": "word " * 200})
        data.write_text(f"{row}\n" * 500)
        wish = [
            "--preset",
            "mistral-7b-instruct-lora",
            "--gpus",
            "1",
            "--data",
            str(data),
            "--sort",
            "dollars",
        ]
        offers = finetui("pods", "offers", *wish, "--json").json
        dollars = [offer["dollars"] for offer in offers]
        assert dollars == sorted(dollars)
        assert all(
            offer["hours"] * offer["price_per_h"] == pytest.approx(offer["dollars"]) for offer in offers
        )
        table = finetui("pods", "offers", *wish)
        assert "$ RUN" in table.out
        assert "within 40%" in table.err

    def test_only_cards_that_fit_sorted_by_price(self, server: RunPodServer) -> None:
        done = finetui("pods", "offers", "--preset", "mistral-7b-instruct-lora", "--json")
        assert done.code == 0, done.err
        offers = done.json
        assert offers
        assert all(offer["fits"] and offer["need_bytes"] <= offer["vram_bytes"] for offer in offers)
        prices = [offer["price_per_h"] for offer in offers]
        assert prices == sorted(prices)
        everything = finetui(
            "pods", "offers", "--preset", "phi-2-full", "--gpus", "1", "--all-cards", "--json"
        ).json
        assert {offer["fits"] for offer in everything} == {True, False}

    def test_without_a_preset_everything_is_shown(self, server: RunPodServer) -> None:
        done = finetui("pods", "offers", "--gpus", "2", "--sort", "vram")
        assert done.code == 0
        lines = done.out.splitlines()
        assert "RTX 4090" in done.out
        assert "1.40" in done.out
        assert "80.0 GiB" in lines[1]

    def test_it_starts_fast_and_asks_twice_at_once(self, server: RunPodServer) -> None:
        finetui("pods", "offers")
        assert len(server.seen) == 2
