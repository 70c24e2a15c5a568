"""The pod itself tells of the end of a run; the address is a secret."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from remote_agent import lifecycle, notify
from tests.fakes.agent_runs import Runs, tree_spec
from tests.fakes.waiting import wait_for

TOKEN = "hook-token-hush-hush"


class Hook:
    """A server that keeps what it is sent."""

    def __init__(self, status: int = 200) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.received.append((dict(self.headers), body))
                self.send_response(status)
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{TOKEN}"

    def told(self) -> list[tuple[dict[str, str], bytes]]:
        """Return what came, once something has."""
        return wait_for(lambda: self.received, "the notification")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


def train(runs: Runs, url: str, kind: str = "webhook", **changes: object) -> None:
    spec = tree_spec("--steps", "3", notify={"kind": kind}, **changes)
    runs.launch("r1", spec, secrets={notify.URL_SECRET: url} if url else {})
    runs.ended("r1")


def test_a_webhook_gets_the_end_and_the_numbers(runs: Runs, hook: Hook) -> None:
    train(runs, hook.url)
    ((headers, body),) = hook.told()
    told = json.loads(body)
    assert headers["Content-Type"] == "application/json"
    assert (told["run"], told["state"], told["code"], told["step"], told["total"]) == (
        "r1",
        "finished",
        0,
        3,
        3,
    )
    assert told["preset"] == "fake"
    assert told["loss"] == pytest.approx(1 / 3, rel=0.01)


def test_ntfy_gets_a_title_and_a_line(runs: Runs, hook: Hook) -> None:
    steps = [{"name": "train", "argv": ["/bin/sh", "-c", "echo 'ValueError: no rows'; exit 3"]}]
    train(runs, hook.url, "ntfy", steps=steps)
    ((headers, body),) = hook.told()
    assert (headers["Title"], headers["Tags"]) == ("r1 failed", "warning")
    assert b"train failed with exit code 3: ValueError: no rows" in body


def test_the_address_is_neither_stored_nor_given_to_the_job(runs: Runs, hook: Hook) -> None:
    train(runs, hook.url, steps=[{"name": "train", "argv": ["/bin/sh", "-c", "env; sleep 0.2"]}])
    assert hook.told()
    for path in runs.places.state.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("status", "said"), [(404, "the server answered 404"), (500, "the server answered 500")]
)
def test_a_refusal_is_one_line_in_the_log(runs: Runs, status: int, said: str) -> None:
    hook = Hook(status)
    train(runs, hook.url)
    wait_for(lambda: said in runs.log("r1"), "the line in the log")
    hook.close()
    assert runs.status("r1").state == "finished"
    assert runs.log("r1").count("finetui: the notification could not be sent") == 1
    assert TOKEN not in runs.log("r1")


@pytest.mark.parametrize("url", [f"http://127.0.0.1:1/{TOKEN}", f"file:///etc/{TOKEN}", f"{TOKEN}", ""])
def test_an_address_that_leads_nowhere_does_not_touch_the_run(runs: Runs, url: str) -> None:
    train(runs, url)
    assert runs.status("r1").state == "finished"
    wait_for(lambda: "the notification could not be sent" in runs.log("r1"), "the line in the log")
    assert TOKEN not in runs.log("r1")


def test_a_server_that_never_answers_is_left_after_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        message = {"run": "r1", "kind": "train", "preset": "", "state": "finished"}
        assert notify.send("webhook", url, message, limit_s=0.2)


def test_who_stops_a_run_is_told_as_well(runs: Runs, hook: Hook) -> None:
    spec = tree_spec("--steps", "100000", "--step-s", "0.02", notify={})
    runs.launch("r1", spec, secrets={notify.URL_SECRET: hook.url})
    runs.wait("r1", "running")
    lifecycle.stop(runs.places, "r1", force=True)
    runs.ended("r1")
    ((_, body),) = hook.told()
    assert json.loads(body)["state"] == "stopped"


def test_after_an_adoption_the_log_says_that_nobody_was_told(runs: Runs, hook: Hook) -> None:
    spec = tree_spec("--steps", "100000", "--step-s", "0.02", notify={})
    runs.launch("r1", spec, secrets={notify.URL_SECRET: hook.url})
    runs.wait("r1", "running")
    os.kill(runs.record("r1")["supervisor"]["pid"], signal.SIGKILL)
    runs.wait_unsupervised("r1")
    lifecycle.stop(runs.places, "r1", force=True)
    runs.ended("r1")
    wait_for(lambda: "the address is not known any more" in runs.log("r1"), "the line in the log")
    assert hook.received == []


def test_a_run_can_be_resumed_while_the_server_takes_its_time(runs: Runs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        spec = tree_spec("--steps", "3", notify={})
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        runs.launch("r1", spec, secrets={notify.URL_SECRET: url})
        wait_for(runs.directory("r1").exit.exists, "the end")
        connection, _ = silent.accept()
        lifecycle.resume(runs.places, "r1", None, {})
        assert runs.ended("r1").state == "finished"
        assert runs.begins("r1") == 2
        connection.close()
