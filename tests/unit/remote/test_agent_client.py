"""The agent client against a far side that the test plays: calls, streams, credit, hostile input."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_agent.protocol import CREDIT_BYTES, NOT_FOUND, Frame
from tests.fakes.scripted_link import ScriptedLink
from tests.fakes.waiting import wait_for
from tui.errors import RemoteError, Unreachable
from tui.remote.agent_client import AgentClient
from tui.remote.streams import RunsSeen, SampleSeen, StreamData, StreamEnd, StreamReset

HELLO = {"agent": "0.1.0", "build": "b", "proto": 1, "boot": "x", "state_dir": "/s", "now": 1.0, "caps": []}


@pytest.fixture
def link() -> Iterator[ScriptedLink]:
    made = ScriptedLink()
    yield made
    made.close()


def in_thread(call):
    """Run a blocking call beside the test; ``join`` gives its outcome."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(call())
        except (RemoteError, Unreachable) as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join() -> object:
        thread.join(5)
        assert not thread.is_alive(), "the call did not return"
        return outcome[0]

    return join


def open_stream(link: ScriptedLink, client: AgentClient, events: list[object], offset: int = 0) -> None:
    done = in_thread(lambda: client.subscribe("log", events.append, run="R", offset=offset))
    link.reply(link.expect("sub.open"), {"sub": 7})
    done()


def test_hello_is_kept(link: ScriptedLink) -> None:
    client = AgentClient(link)
    greeting = in_thread(client.greet)
    frame = link.expect("hello")
    assert frame.header["params"]["proto"] == [1, 1]
    link.reply(frame, HELLO)
    assert greeting() == client.hello
    assert client.hello.state_dir == "/s"


def test_an_agent_of_another_protocol_is_unreachable(link: ScriptedLink) -> None:
    client = AgentClient(link)
    greeting = in_thread(client.greet)
    link.reply(link.expect("hello"), {**HELLO, "proto": 9})
    error = greeting()
    assert isinstance(error, Unreachable)
    assert "protocol 9" in str(error)
    assert client.closed


def test_replies_find_their_calls_in_any_order(link: ScriptedLink) -> None:
    client = AgentClient(link)
    first = in_thread(lambda: client.request("run.get", {"run": "A"}))
    frame_a = link.expect("run.get")
    second = in_thread(lambda: client.request("run.get", {"run": "B"}))
    frame_b = link.expect("run.get")
    link.reply(frame_b, "b")
    link.reply(frame_a, "a")
    assert (first(), second()) == ("a", "b")


def test_a_refusal_carries_code_and_remedy(link: ScriptedLink) -> None:
    client = AgentClient(link)
    call = in_thread(lambda: client.request("run.get", {"run": "A"}))
    number = link.expect("run.get").header["id"]
    problem = {"code": NOT_FOUND, "message": "there is no run A", "data": {"remedy": "look again"}}
    link.send({"jsonrpc": "2.0", "id": number, "error": problem})
    error = call()
    assert isinstance(error, RemoteError)
    assert (error.message, error.remedy, error.code) == ("there is no run A", "look again", NOT_FOUND)
    assert not client.closed


def test_no_answer_in_time_is_unreachable_and_says_that_repeating_is_safe(link: ScriptedLink) -> None:
    client = AgentClient(link)
    with pytest.raises(Unreachable, match="repeating") as caught:
        client.request("ping", timeout_s=0.05)
    assert caught.value.exit_code == 3
    assert not client.closed


def test_the_relay_s_own_error_is_told(link: ScriptedLink) -> None:
    client = AgentClient(link)
    call = in_thread(client.greet)
    link.expect("hello")
    problem = {"code": -32004, "message": "the agent did not start", "data": {"remedy": "see agentd.log"}}
    link.send({"jsonrpc": "2.0", "id": None, "error": problem})
    error = call()
    assert isinstance(error, Unreachable)
    assert "the agent did not start" in str(error)
    assert error.remedy == "see agentd.log"


def test_the_end_of_the_link_fails_waiting_calls_with_its_last_words(link: ScriptedLink) -> None:
    link.words = "bash: python3: command not found"
    client = AgentClient(link)
    reasons: list[str] = []
    client.notify_on_close(reasons.append)
    call = in_thread(lambda: client.request("ping"))
    link.expect("ping")
    link.feed(b"")
    error = call()
    assert isinstance(error, Unreachable)
    assert "python3: command not found" in str(error)
    assert reasons == ["the other side hung up"]
    with pytest.raises(Unreachable):
        client.request("ping")


def test_close_is_idempotent_and_frees_waiting_calls(link: ScriptedLink) -> None:
    client = AgentClient(link)
    call = in_thread(lambda: client.request("ping"))
    link.expect("ping")
    client.close()
    client.close()
    assert isinstance(call(), Unreachable)
    assert link.closed.is_set()


def test_stream_bytes_are_acknowledged_only_after_they_were_consumed(link: ScriptedLink) -> None:
    client = AgentClient(link)
    consumed, go_on = threading.Event(), threading.Event()
    got: list[bytes] = []

    def slow(event: object) -> None:
        assert isinstance(event, StreamData)
        got.append(event.data)
        consumed.set()
        go_on.wait(5)

    done = in_thread(lambda: client.subscribe("log", slow, run="R", offset=10))
    frame = link.expect("sub.open")
    assert frame.header["params"]["o"] == 10
    assert frame.header["params"]["credit"] > 0
    link.reply(frame, {"sub": 7})
    done()
    # Small pieces are not worth a frame each: a quarter of the credit is.
    data = b"h" * (CREDIT_BYTES // 4)
    link.notify("data", data, sub=7, o=10, gen="g")
    assert consumed.wait(5)
    assert link.sent.empty(), "acknowledged before the callback returned"
    go_on.set()
    acknowledged = {"sub": 7, "o": 10 + len(data), "credit": CREDIT_BYTES}
    assert link.expect("sub.ack").header["params"] == acknowledged
    assert got == [data]


def test_stream_frames_that_overtake_the_reply_are_not_lost(link: ScriptedLink) -> None:
    client = AgentClient(link)
    events: list[object] = []
    done = in_thread(lambda: client.subscribe("log", events.append, run="R"))
    frame = link.expect("sub.open")
    link.notify("data", b"ab", sub=7, o=0, gen="g")
    link.reply(frame, {"sub": 7})
    link.notify("data", b"cd", sub=7, o=2, gen="g")
    done()
    wait_for(lambda: len(events) == 2, "both pieces")
    assert [event.data for event in events if isinstance(event, StreamData)] == [b"ab", b"cd"]


def test_reset_starts_the_offsets_again(link: ScriptedLink) -> None:
    client = AgentClient(link)
    events: list[object] = []
    open_stream(link, client, events, offset=100)
    link.notify("reset", sub=7, gen="new")
    link.notify("data", b"x", sub=7, o=0, gen="new")
    link.notify("eof", sub=7, size=1)
    link.notify("eof", sub=7, size=1)
    call = in_thread(lambda: client.request("ping"))
    link.reply(link.expect("ping"), {})
    call()
    assert events[:3] == [StreamReset("new"), StreamData(0, "new", b"x"), StreamEnd(1)]


def test_runs_and_samples_arrive_as_values(link: ScriptedLink) -> None:
    client = AgentClient(link)
    events: list[object] = []
    open_stream(link, client, events)
    link.notify("runs", sub=7, runs=[{"run": "A", "state": "running", "step": 3, "new_key": 1}])
    link.notify("sample", sub=7, sample={"at": 1.0, "cores": 2})
    call = in_thread(lambda: client.request("ping"))
    link.reply(link.expect("ping"), {})
    call()
    seen, sampled = events
    assert isinstance(seen, RunsSeen)
    assert seen.runs[0].step == 3
    assert isinstance(sampled, SampleSeen)
    assert sampled.sample.cores == 2


def test_nothing_is_delivered_after_unsubscribe(link: ScriptedLink) -> None:
    client = AgentClient(link)
    events: list[object] = []
    open_stream(link, client, events)
    client.unsubscribe(7)
    assert link.expect("sub.close").header["params"] == {"sub": 7}
    link.notify("data", b"late", sub=7, o=0, gen="g")
    call = in_thread(lambda: client.request("ping"))
    link.reply(link.expect("ping"), {})
    call()
    assert events == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"not json\n",
        b"[1]\n",
        b'{"id":"x","result":1}\n',
        b'{"n":-1}\n',
        b'{"n":99999999999}\n',
        b"x" * 70000,
        b'{"method":"data","params":{"sub":7,"o":5,"gen":"g"},"n":1}\nx',
        b'{"method":"data","params":{"sub":7,"o":"0","gen":"g"},"n":1}\nx',
        b'{"method":"data","params":{"sub":7,"o":0,"gen":[]},"n":1}\nx',
        b'{"method":"data","params":[]}\n',
        b'{"method":"runs","params":{"sub":7,"runs":[{"run":5}]}}\n',
        b'{"method":"sample","params":{"sub":7,"sample":{"at":"now"}}}\n',
        b'{"method":"eof","params":{"sub":7,"size":-1}}\n',
        b'{"method":["data"],"params":{"sub":7}}\n',
    ],
)
def test_hostile_bytes_end_the_connection_and_nothing_else(link: ScriptedLink, garbage: bytes) -> None:
    client = AgentClient(link)
    events: list[object] = []
    open_stream(link, client, events)
    ended = threading.Event()
    client.notify_on_close(lambda reason: ended.set())
    link.feed(garbage)
    assert ended.wait(5), "the connection survived"
    assert "protocol error" in client.reason
    assert events == []
    with pytest.raises(Unreachable):
        client.request("ping")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_at_all_crash_the_reader(data: bytes) -> None:
    link = ScriptedLink()
    client = AgentClient(link)
    link.feed(data + b"\n")
    link.feed(b"")
    client.close()
    assert client.closed
    assert not client._reader.is_alive()


def test_a_callback_that_fails_ends_the_connection_with_its_reason(link: ScriptedLink) -> None:
    client = AgentClient(link)

    def full(event: object) -> None:
        raise OSError(28, "No space left on device")

    done = in_thread(lambda: client.subscribe("log", full, run="R"))
    link.reply(link.expect("sub.open"), {"sub": 7})
    done()
    ended = threading.Event()
    client.notify_on_close(lambda reason: ended.set())
    link.notify("data", b"x", sub=7, o=0, gen="g")
    assert ended.wait(5)
    assert "No space left" in client.reason


def test_too_large_a_request_is_refused_here(link: ScriptedLink) -> None:
    client = AgentClient(link)
    with pytest.raises(RemoteError, match="too large"):
        client.request("blob.put", {}, b"x" * 300_000)
    assert not client.closed


def test_a_long_result_arrives_whole(link: ScriptedLink) -> None:
    client = AgentClient(link)
    call = in_thread(lambda: client.request("run.list"))
    frame: Frame = link.expect("run.list")
    long = [{"run": f"{i:026}", "state": "finished"} for i in range(3000)]
    link.reply(frame, long)
    assert call() == long
