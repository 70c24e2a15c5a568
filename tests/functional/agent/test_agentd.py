from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remote_agent.places import Places
from remote_agent.protocol import (
    CREDIT_BYTES,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    REFUSED,
    encode,
)
from tests.fakes.agent_processes import agentd_pids, end_agentd
from tests.fakes.agent_runs import Runs, tree_spec
from tests.fakes.waiting import wait_for
from tests.fakes.wire_client import WireClient

Connect = Callable[[], WireClient]


@pytest.fixture
def connect(places: Places) -> Iterator[Connect]:
    clients: list[WireClient] = []

    def open_one() -> WireClient:
        clients.append(WireClient(places))
        return clients[-1]

    yield open_one
    for client in clients:
        client.process.kill()
        client.hang_up()
    end_agentd(places)


def make_run(places: Places, run: str, log: bytes) -> Path:
    """Leave a run that has ended, as far as a reader of its log can tell."""
    folder = places.runs / run
    folder.mkdir(parents=True)
    (folder / "log").write_bytes(log)
    (folder / "exit.json").write_text('{"state": "finished", "code": 0}')
    (folder / "spec.json").write_text('{"kind": "train", "preset": "fake"}')
    return folder


def follow(client: WireClient, run: str, offset: int = 0, gen: str = "") -> tuple[bytes, str, bool]:
    """Follow a log until eof or the end of the connection; acknowledge all of it."""
    sub = client.call("sub.open", kind="log", run=run, o=offset, gen=gen)["sub"]
    copy = b""
    while True:
        frame = client.wait(lambda frame: frame.header.get("method") in ("data", "eof"))
        if frame.header["method"] == "eof":
            assert frame.header["params"]["size"] == offset + len(copy)
            return copy, gen, True
        assert frame.header["params"]["o"] == offset + len(copy)
        copy, gen = copy + frame.payload, frame.header["params"]["gen"]
        client.notify("sub.ack", sub=sub, o=offset + len(copy))


def test_hello_negotiates(connect: Connect, places: Places) -> None:
    client = connect()
    hello = client.call("hello", client="test", proto=[1, 3])
    assert (hello["proto"], hello["build"], hello["state_dir"]) == (1, "source", str(places.state))
    assert client.error("hello", proto=[2, 3])["code"] == REFUSED
    assert client.error("hello", proto=["1", 3])["code"] == INVALID_PARAMS


@pytest.mark.parametrize(
    ("method", "params", "code", "said"),
    [
        ("no.such", {}, METHOD_NOT_FOUND, "no.such"),
        ("run.get", {}, INVALID_PARAMS, "run"),
        ("run.get", {"run": 1}, INVALID_PARAMS, "run"),
        ("run.get", {"run": "../../etc"}, INVALID_PARAMS, "run id"),
        ("run.get", {"run": "absent"}, NOT_FOUND, "absent"),
        ("run.stop", {"run": "absent", "force": 1}, INVALID_PARAMS, "force"),
        ("run.launch", {"run": "r", "spec": [], "spec_sha": "", "files": {}}, INVALID_PARAMS, "spec"),
        ("run.launch", {"run": "r", "spec": {}, "spec_sha": "", "files": {"a": 1}}, INVALID_PARAMS, "files"),
        ("sub.open", {"kind": "dreams"}, INVALID_PARAMS, "kind"),
        ("sub.open", {"kind": "log", "run": None}, INVALID_PARAMS, "run"),
        ("sub.open", {"kind": "log", "run": "absent"}, NOT_FOUND, "absent"),
        ("file.read", {"path": "../../etc/passwd"}, REFUSED, "path"),
        ("file.read", {"path": "\0"}, REFUSED, "path"),
        ("blob.have", {"sha256": [1]}, INVALID_PARAMS, "sha256"),
    ],
)
def test_a_bad_request_names_what_is_wrong(
    connect: Connect, method: str, params: dict, code: int, said: str
) -> None:
    client = connect()
    error = client.error(method, **params)
    assert error["code"] == code
    assert said in error["message"]
    assert client.call("ping") == {}


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b'{"n":99999999}\n', b"[]\n", b"\xff" * 70_000, b'{"id":1,"params":NaN}\n'],
)
def test_garbage_closes_that_connection_only(connect: Connect, garbage: bytes) -> None:
    other, client = connect(), connect()
    client.call("ping")
    client.input.write(garbage)
    with pytest.raises(EOFError):
        client.event("anything")
    assert other.call("ping") == {}


def test_random_requests_do_not_end_the_agent(connect: Connect, places: Places) -> None:
    client, chance = connect(), random.Random(0)
    client.call("ping")
    (pid,) = agentd_pids(places)
    names = ["hello", "run.get", "sub.open", "sub.ack", "sub.close", "blob.put", "file.read", "blob.have", ""]
    values = [None, 0, -1, 10**30, "", "\0", "\ud800", "x" * 300, [], [[]], {}, {"a": {}}, True, 1.5]
    keys = ["run", "sub", "o", "max", "path", "sha256", "size", "kind", "gen", "credit", "proto"]
    for _ in range(300):
        params = {key: chance.choice(values) for key in chance.sample(keys, 5)}
        request = client.send(chance.choice(names), chance.randbytes(chance.randint(0, 50)), **params)
        reply = client.reply(request).header
        assert reply.get("error", {}).get("code") != -32603, (params, reply)
    assert agentd_pids(places) == [pid]


def test_log_is_exact_after_random_cuts(connect: Connect, places: Places) -> None:
    chance = random.Random(1)
    log = b"".join(chance.randbytes(chance.randint(1, 3000)) + b"\n" for _ in range(300)) + b"y" * 200_000
    make_run(places, "r", log)
    copy, gen = b"", ""
    for _ in range(8):
        client = connect()
        client.call("sub.open", kind="log", run="r", o=len(copy), gen=gen)
        for _ in range(chance.randint(1, 3)):
            frame = client.event("data")
            assert frame.header["params"]["o"] == len(copy)
            copy, gen = copy + frame.payload, frame.header["params"]["gen"]
        client.process.kill()
    rest, _, ended = follow(connect(), "r", len(copy), gen)
    assert copy + rest == log
    assert ended


def test_ping_overtakes_a_backlog(connect: Connect, places: Places) -> None:
    folder = make_run(places, "r", b"")
    os.truncate(folder / "log", 100_000_000)
    client = connect()
    sub = client.call("sub.open", kind="log", run="r")["sub"]
    received = 0
    for _ in range(50):
        received += len(client.event("data").payload)
        client.notify("sub.ack", sub=sub, o=received)
    ping = client.send("ping")
    ahead = 0
    while (frame := client.wait(lambda frame: True)).header.get("id") != ping:
        ahead += len(frame.payload)
        received += len(frame.payload)
        client.notify("sub.ack", sub=sub, o=received)
    assert ahead <= 2 * CREDIT_BYTES


def test_a_client_that_never_reads_costs_no_memory(connect: Connect, places: Places) -> None:
    folder = make_run(places, "r", b"")
    os.truncate(folder / "log", 1_000_000_000)
    client, other = connect(), connect()
    other.call("ping")
    (pid,) = agentd_pids(places)
    before = resident_bytes(pid)
    for _ in range(60):
        client.send("sub.open", kind="log", run="r", credit=10**9)
    for _ in range(20):
        assert other.call("run.list")
    assert resident_bytes(pid) - before < 16 * 1024 * 1024
    client.process.kill()


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_upload_resumes_and_is_verified(connect: Connect, places: Places) -> None:
    data = random.Random(2).randbytes(1_000_000)
    sha256 = hashlib.sha256(data).hexdigest()
    client = connect()
    for start in range(0, 600_000, 200_000):
        client.call("blob.put", data[start : start + 200_000], sha256=sha256, o=start, size=len(data))
    client.process.kill()
    client = connect()
    held = client.call("blob.have", sha256=[sha256])[sha256]
    assert held == 600_000
    requests = [
        client.send("blob.put", data[start : start + 100_000], sha256=sha256, o=start, size=len(data))
        for start in range(held, len(data), 100_000)
    ]
    results = [client.reply(request).header["result"]["held"] for request in requests]
    assert results[-1] == len(data)
    assert client.call("blob.have", sha256=[sha256]) == {sha256: -1}
    assert (places.blobs / sha256).read_bytes() == data


def test_more_runs_than_a_header_holds(connect: Connect, places: Places) -> None:
    for number in range(300):
        make_run(places, f"run-{number}", b"")
    client = connect()
    assert len(client.call("run.list")) == 300
    client.call("sub.open", kind="runs")
    assert len(client.event("runs").header["params"]["runs"]) == 300


def test_samples_keep_coming(connect: Connect) -> None:
    client = connect()
    client.call("sub.open", kind="samples", every_s=0.5)
    first, second = client.event("sample"), client.event("sample")
    assert first.header["params"]["sample"]["ram_total_bytes"] > 0
    assert second.header["params"]["sample"]["cpu_percent"] is not None


def test_launch_follow_and_stop(connect: Connect, runs: Runs) -> None:
    client = connect()
    client.call("sub.open", kind="runs")
    spec = tree_spec("--steps", "100000", "--step-s", "0.02", "--children", "1")
    request = {"run": "r1", "spec": spec, "spec_sha": "s", "files": {}, "secrets": {}}
    client.call("run.launch", **request)
    client.wait(lambda frame: state_of(frame, "r1") == "running")
    assert client.call("run.launch", **request)["run"] == "r1"
    metrics = client.call("sub.open", kind="metrics", run="r1")["sub"]
    seen = 0
    while seen < 500:
        seen += len(client.event("data").payload)
        client.notify("sub.ack", sub=metrics, o=seen)
    client.call("run.stop", run="r1")
    client.wait(lambda frame: state_of(frame, "r1") == "stopped")
    assert client.event("eof").header["params"]["size"] == runs.directory("r1").metrics.stat().st_size
    assert [found["complete"] for found in client.call("ckpt.list", run="r1")] == [True]
    runs.wait_unsupervised("r1")
    assert client.call("run.delete", run="r1")["freed_bytes"] > 0
    assert client.call("run.list") == []
    assert runs.left("r1") == []


def state_of(frame: object, run: str) -> str:
    header = frame.header  # type: ignore[attr-defined]
    found = header["params"]["runs"] if header.get("method") == "runs" else []
    return next((item["state"] for item in found if item["run"] == run), "")


def test_the_job_does_not_notice_that_the_agent_was_killed(connect: Connect, runs: Runs) -> None:
    client = connect()
    spec = tree_spec("--steps", "100000", "--step-s", "0.02")
    client.call("run.launch", run="r1", spec=spec, spec_sha="s", files={}, secrets={})
    runs.wait("r1", "running")
    end_agentd(runs.places)
    heartbeat = runs.directory("r1").path / "heartbeat"
    wait_for(heartbeat.exists, "the job to be at work")
    before = heartbeat.read_text()
    wait_for(lambda: heartbeat.read_text() not in ("", before), "the job to go on")
    again = connect()
    assert again.call("run.get", run="r1")["state"] == "running"
    again.call("run.stop", run="r1", force=True)
    runs.ended("r1")


@pytest.mark.parametrize("build", ["source", "0.0.9-0123456789ab", "0123456789ab", ""])
def test_a_build_that_is_not_newer_is_refused(connect: Connect, places: Places, build: str) -> None:
    client = connect()
    assert client.call("agent.handover", build=build) == {"leaving": False}
    assert client.call("ping") == {}
    assert places.socket.exists()


def test_a_run_whose_supervisor_died_is_adopted_though_nobody_watches(connect: Connect, runs: Runs) -> None:
    client = connect()
    spec = tree_spec("--steps", "100000", "--step-s", "0.02")
    names = [f"r{number}" for number in range(4)]
    for run in names:
        client.call("run.launch", run=run, spec=spec, spec_sha="s", files={}, secrets={})
    client.hang_up()
    for run in names:
        runs.wait(run, "running")
        os.kill(runs.record(run)["supervisor"]["pid"], signal.SIGKILL)
        runs.wait_unsupervised(run)
    for run in names:
        wait_for(lambda run=run: not runs.status(run).unsupervised, f"{run} to be adopted")
    assert [runs.begins(run) for run in names] == [1] * 4
    for run in names:
        connect().call("run.stop", run=run, force=True)
        assert runs.ended(run).state == "stopped"


def test_a_volume_that_hangs_stalls_its_own_streams_only(connect: Connect, places: Places) -> None:
    """A FIFO that nobody writes blocks whoever opens it, as a file on a hung volume does."""
    hung = make_run(places, "hung", b"")
    (hung / "log").unlink()
    os.mkfifo(hung / "log")
    make_run(places, "fine", b"x" * 300_000)
    client = connect()
    for _ in range(3):
        client.call("sub.open", kind="log", run="hung")
    for _ in range(5):
        assert client.call("ping") == {}
    assert follow(client, "fine")[0] == b"x" * 300_000
    with (hung / "log").open("wb"):
        assert client.call("ping") == {}


def test_a_directory_of_many_files_comes_in_pages(connect: Connect, places: Places) -> None:
    folder = make_run(places, "r", b"") / "output"
    folder.mkdir()
    tail = "\u00e9" * 100
    names = [f"{number:05d}-{tail}" for number in range(4000)]
    for name in names:
        (folder / name).touch()
    client, found = connect(), []
    while page := client.call("file.list", path="runs/r/output", after=found[-1] if found else ""):
        assert len(page) < len(names)
        found += [entry["name"] for entry in page]
    assert found == names


def test_only_the_owner_may_connect(connect: Connect, places: Places) -> None:
    connect().call("ping")
    assert stat.S_IMODE(places.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.runtime.stat().st_mode) == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_gets_no_answer(connect: Connect, places: Places) -> None:
    """Even where the modes would let it in: the peer's uid is what counts."""
    connect().call("ping")
    places.runtime.chmod(0o777)
    places.socket.chmod(0o777)
    code = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "s.settimeout(20)\n"
        "try:\n"
        "    s.sendall(sys.argv[2].encode()); data = s.recv(100)\n"
        "except (BrokenPipeError, ConnectionResetError):\n"
        "    data = b''\n"
        "sys.exit(7 if data == b'' and os.getuid() == 65534 else 1)\n"
    )
    ping = encode({"jsonrpc": "2.0", "id": 1, "method": "ping"}).decode()
    done = subprocess.run(
        ["/usr/bin/env", "python3", "-c", code, str(places.socket), ping], user=65534, check=False, cwd="/"
    )
    places.runtime.chmod(0o700)
    assert done.returncode == 7


def test_a_half_open_client_gets_its_replies(connect: Connect, places: Places) -> None:
    connect().call("ping")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(places.socket))
        client.sendall(encode({"jsonrpc": "2.0", "id": 1, "method": "health"}))
        client.shutdown(socket.SHUT_WR)
        client.settimeout(20)
        answer = b""
        while data := client.recv(65536):
            answer += data
    assert b'"findings"' in answer
