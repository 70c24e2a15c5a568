"""Whatever happens to the connection: the job goes on, and the client's copies end up byte-identical.

Numbers are the rows of the fault matrix.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.fakes.faulty_pod import FaultyPod, chatty_spec
from tests.fakes.following import Following
from tests.fakes.sshd import PrivateSshd
from tests.fakes.waiting import wait_for
from tui.errors import FinetuiError, Unreachable
from tui.remote import heartbeat, transfer


@pytest.mark.parametrize("stage", ["idle", "streaming"])
def test_1_a_killed_relay_is_replaced(pod: FaultyPod, stage: str) -> None:
    run = pod.launch(chatty_spec("--bytes", "2000000" if stage == "streaming" else "0"))
    with Following(pod.target, run) as following:
        following.wait_bytes(100_000)
        for count in range(1, 4):
            following.wait_state("live", count)
            pod.kill(pod.relay())
            following.wait_state("live", count + 1)
        pod.check_job_never_noticed(run)
        assert pod.finish(run).exit_code == 0
        following.wait_whole(pod.places)


def test_2_a_killed_agent_is_started_again_and_finds_the_run(pod: FaultyPod) -> None:
    run = pod.launch(chatty_spec())
    with Following(pod.target, run) as following:
        for count in range(1, 4):
            following.wait_state("live", count)
            agent = pod.agentd()
            pod.kill(agent)
            following.wait_state("live", count + 1)
            assert pod.agentd() != agent
        pod.check_job_never_noticed(run)
        assert pod.finish(run).exit_code == 0
        following.wait_whole(pod.places)


def test_5_a_killed_ssh_session_leaves_agent_and_job_alone(pod: FaultyPod) -> None:
    run = pod.launch(chatty_spec())
    with Following(pod.target, run) as following:
        following.wait_state("live")
        agent = pod.agentd()
        pod.sshd.kill_sessions()
        following.wait_state("live", 2)
        assert pod.agentd() == agent
        pod.check_job_never_noticed(run)
        pod.finish(run)
        following.wait_whole(pod.places)
    wait_for(lambda: not pod.relays(), "the relays to leave with their connections")


def test_5_a_killed_client_leaves_agent_and_job_alone(pod: FaultyPod) -> None:
    run = pod.launch(chatty_spec("--code", "7"))
    finetui = str(Path(sys.executable).parent / "finetui")
    client = subprocess.Popen([finetui, "logs", run, "-f", "--on", pod.target], stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert client.stdout.read(1000)
    client.kill()
    client.wait()
    wait_for(lambda: not pod.relays(), "the relay to leave with its connection")
    pod.check_job_never_noticed(run)
    assert pod.finish(run).exit_code == 7


@pytest.mark.slow
def test_6_fifty_cuts_at_random_bytes(pod: FaultyPod) -> None:
    noise = random.Random(6)
    run = pod.launch(chatty_spec("--bytes", "15000000", "--rate", "8000000"))
    with Following(pod.target, run) as following:
        for count in range(1, 51):
            following.wait_state("live", count, 60.0)
            # Small numbers cut the handshake and hello of the next connection too.
            pod.proxy.cut_after(noise.choice([1, 500, 3000, 20_000, 200_000]) + noise.randrange(2000))
            following.wait_state("lost", count)
        pod.check_job_never_noticed(run)
        pod.finish(run)
        following.wait_whole(pod.places, 120.0)
    assert pod.proxy.connections >= 50


def test_6_a_cut_upload_is_resumed_and_whole(pod: FaultyPod, tmp_path: Path) -> None:
    noise = random.Random(60)
    data = noise.randbytes(8_000_000)
    (tmp_path / "data.bin").write_bytes(data)
    sha256 = transfer.sha256_of(tmp_path / "data.bin")
    # No connection carries the whole file: it gets there only if each goes on where the last one was cut.
    for _ in range(60):
        with pod.connect() as client:
            pod.proxy.cut_after_up(3_000_000)
            try:
                transfer.upload_blobs(client, {sha256: tmp_path / "data.bin"})
                break
            except FinetuiError:
                pass
    blobs = pod.places.blobs
    assert (blobs / sha256).read_bytes() == data
    assert [path.name for path in blobs.iterdir()] == [sha256], "a temporary file was left"
    with pod.connect() as client:
        before = pod.proxy.bytes_up
        transfer.upload_blobs(client, {sha256: tmp_path / "data.bin"})
        assert pod.proxy.bytes_up - before < 100_000, "what was there already was sent again"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["idle", "streaming"])
def test_7_a_black_hole_is_noticed(pod: FaultyPod, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The limits themselves are held by tests/unit/remote/test_heartbeat.py.
    monkeypatch.setattr(heartbeat, "PING_AFTER_S", 1.0)
    monkeypatch.setattr(heartbeat, "DEAD_AFTER_S", 4.0)
    run = pod.launch(chatty_spec("--rate", "2000000" if stage == "streaming" else "20000"))
    with Following(pod.target, run) as following:
        following.wait_state("live")
        following.wait_bytes(1)
        pod.proxy.stall()
        following.wait_state("lost", 1)
        pod.proxy.cut()
        pod.proxy.resume()
        following.wait_state("live", 2)
        pod.check_job_never_noticed(run)
        pod.finish(run)
        following.wait_whole(pod.places)


def test_7_a_launch_whose_reply_is_lost_is_sent_again(pod: FaultyPod) -> None:
    run = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    client = pod.connect()

    def lose_the_reply() -> None:
        wait_for((pod.folder(run) / "proc.json").exists, "the launch to arrive")
        pod.proxy.stall()
        pod.proxy.cut()
        pod.proxy.resume()

    spec = chatty_spec()
    pod.proxy.delay_s = 0.15
    thread = threading.Thread(target=lose_the_reply)
    thread.start()
    with pytest.raises(FinetuiError):
        pod.launch_with(client, spec, run)
    thread.join()
    client.close()
    pod.proxy.delay_s = 0.0
    assert pod.launch(spec, run) == run
    pod.wait_running(run)
    pod.check_job_never_noticed(run)
    assert pod.finish(run).state == "finished"


@pytest.mark.slow
def test_8_after_sleep_the_laptop_is_back_at_once(pod: FaultyPod, tmp_path: Path) -> None:
    run = pod.launch(chatty_spec("--rate", "200000"))
    finetui = str(Path(sys.executable).parent / "finetui")
    copy = tmp_path / "copy"
    with copy.open("wb") as output:
        client = subprocess.Popen([finetui, "logs", run, "-f", "--on", pod.target], stdout=output)
    wait_for(lambda: copy.stat().st_size > 10_000, "the log")
    connections = pod.proxy.connections
    client.send_signal(signal.SIGSTOP)
    # The network forgets a sleeping laptop without telling it.
    pod.proxy.stall()
    threading.Event().wait(12.0)
    client.send_signal(signal.SIGCONT)
    wait_for(lambda: pod.proxy.connections > connections, "a new connection after waking")
    pod.proxy.cut()
    pod.proxy.resume()
    pod.finish(run)
    assert client.wait(60) == 0
    assert copy.read_bytes().decode("utf-8", "replace").count("step ") > 0


def test_9_a_stopped_agent_is_reported_and_not_doubled(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pod.launch(chatty_spec())
    agent = pod.agentd()
    os.kill(agent, signal.SIGSTOP)
    with monkeypatch.context() as hurry, pytest.raises(Unreachable) as caught:
        hurry.setattr("tui.remote.agent_client.AgentClient.greet.__defaults__", (2.0,))
        pod.connect()
    assert "did not answer" in caught.value.message
    assert pod.agentd() == agent
    os.kill(agent, signal.SIGCONT)
    with pod.connect() as client:
        assert client.request("ping") == {}
    assert pod.agentd() == agent
    pod.check_job_never_noticed(run)
    pod.finish(run)


@pytest.mark.slow
def test_28_a_client_that_stops_reading_costs_the_agent_no_memory(pod: FaultyPod) -> None:
    run = pod.launch(chatty_spec("--bytes", "40000000", "--rate", "1e9"))
    reading = threading.Event()
    with pod.connect() as stuck, Following(pod.target, run) as following:
        stuck.subscribe("log", lambda event: reading.wait(60.0), run=run)
        following.wait_bytes(40_000_000, 120.0)
        assert _rss(pod.agentd()) < 64 * 1024 * 1024
        reading.set()
        pod.finish(run)
        following.wait_whole(pod.places, 120.0)


@pytest.mark.slow
def test_29_on_a_slow_link_with_a_backlog_a_ping_is_answered(pod: FaultyPod) -> None:
    run = pod.launch(chatty_spec("--bytes", "20000000", "--rate", "1e9"))
    wait_for(lambda: (pod.folder(run) / "log").stat().st_size >= 20_000_000, "the backlog")
    pod.finish(run)
    with pod.connect() as client:
        pod.proxy.rate_bytes_s = 64_000.0
        client.subscribe("log", lambda event: None, run=run)
        waits = []
        for _ in range(3):
            start = time.monotonic()
            client.request("ping")
            waits.append(time.monotonic() - start)
        # 256 KiB of credit at 64 kB/s are four seconds, the backlog is five minutes: a reply overtakes all
        # but what is on the wire.
        assert max(waits) < 30.0, waits
        pod.proxy.rate_bytes_s = 0.0


@pytest.mark.slow
def test_30_rekeys_of_the_server_while_streaming(pod: FaultyPod, sshd: PrivateSshd) -> None:
    sshd.stop()
    sshd.options.append("RekeyLimit 1M")
    sshd.start()
    run = pod.launch(chatty_spec("--bytes", "20000000", "--rate", "1e9"))
    with Following(pod.target, run) as following:
        following.wait_bytes(20_000_000, 120.0)
        pod.finish(run)
        following.wait_whole(pod.places, 120.0)
        assert following.states.count("live") == 1, "the connection broke on the way"


def _rss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")
