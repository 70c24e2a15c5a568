from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from remote_agent.places import Places
from remote_agent.protocol import FrameReader
from tests.fakes.agent_processes import agentd_pids, end_agentd
from tests.fakes.agent_zip import build_agent_zip
from tests.fakes.waiting import wait_for
from tests.fakes.wire_client import WireClient


@pytest.fixture(autouse=True)
def ended(places: Places) -> Iterator[None]:
    yield
    end_agentd(places)


def test_the_marker_comes_first(places: Places) -> None:
    with WireClient(places) as client:
        assert client.marker == b"MARK 1\n"
        assert client.call("ping") == {}


def test_a_client_that_hangs_up_ends_its_relay_and_nothing_else(places: Places) -> None:
    client = WireClient(places)
    client.call("ping")
    (pid,) = agentd_pids(places)
    assert client.hang_up() == 0
    assert agentd_pids(places) == [pid]
    with WireClient(places) as again:
        again.call("ping")
        assert agentd_pids(places) == [pid]


def test_agentd_belongs_to_nobody(places: Places) -> None:
    with WireClient(places) as client:
        client.call("ping")
        (pid,) = agentd_pids(places)
        assert os.getsid(pid) != os.getsid(client.process.pid)
        for descriptor in (0, 1, 2):
            target = str(Path(f"/proc/{pid}/fd/{descriptor}").readlink())
            assert target in ("/dev/null", str(places.agentd_log))


def test_a_race_of_forty_starts_one_agent(places: Places) -> None:
    with ThreadPoolExecutor(40) as pool:
        clients = list(pool.map(lambda _: WireClient(places), range(40)))
        assert list(pool.map(lambda client: client.call("ping"), clients)) == [{}] * 40
    assert len(agentd_pids(places)) == 1
    for client in clients:
        client.hang_up()


def test_the_socket_of_a_dead_agent_is_replaced(places: Places) -> None:
    with WireClient(places) as client:
        client.call("ping")
    end_agentd(places)
    assert places.socket.exists()
    with WireClient(places) as client:
        assert client.call("ping") == {}


def test_the_socket_of_a_living_agent_is_left_alone(places: Places) -> None:
    places.create()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(places.socket))
        listener.listen()
        client = WireClient(places)
        connection, _ = listener.accept()
        assert agentd_pids(places) == []
        connection.close()
        client.hang_up()


def test_replies_are_delivered_after_the_client_closed_its_side(places: Places) -> None:
    with WireClient(places) as client:
        request = client.send("health")
        client.input.close()
        assert client.reply(request).header["result"]["findings"]


def refusal(places: Places) -> dict[str, object]:
    """Return the error that the relay prints instead of connecting."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "remote_agent", "relay", "MARK"],
        env={**os.environ, **places.as_environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == b""
    marker, _, rest = done.stdout.partition(b"\n")
    assert marker == b"MARK 1"
    (frame,) = FrameReader().feed(rest)
    return dict(frame.header["error"])


@pytest.mark.parametrize("kind", ["symlink", "open to others", "file"])
def test_a_runtime_directory_of_others_is_refused(tmp_path: Path, kind: str) -> None:
    runtime = tmp_path / "r"
    if kind == "symlink":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        runtime.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        runtime.touch()
    else:
        runtime.mkdir()
        runtime.chmod(0o777)
    error = refusal(Places(tmp_path / "state", runtime, tmp_path / "environments"))
    assert str(runtime) in str(error["message"])


def test_a_state_directory_that_cannot_be_written_is_named(places: Places) -> None:
    places.state.parent.mkdir(exist_ok=True)
    places.state.touch()
    assert str(places.state) in str(refusal(places)["message"])


def test_a_socket_path_that_is_too_long_says_what_to_set(tmp_path: Path) -> None:
    runtime = tmp_path / ("r" * 120)
    error = refusal(Places(tmp_path / "state", runtime, tmp_path / "environments"))
    assert "too long" in str(error["message"])
    assert "FINETUI_RUNTIME_DIR" in str(error["data"])


def test_a_reason_of_agentd_reaches_the_client(places: Places) -> None:
    places.create()
    places.socket.mkdir()  # nothing can bind there
    assert "the agent" in str(refusal(places)["message"])


def test_all_roles_start_from_one_file(places: Places, tmp_path: Path) -> None:
    program = build_agent_zip(tmp_path / "agent" / "0.1.0-abc" / "agent.pyz")
    with WireClient(places, program=program) as client:
        hello = client.call("hello", proto=[1, 1])
        assert hello["build"] not in ("", "source")
        (pid,) = agentd_pids(places)
        assert str(program).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_the_log_and_the_socket_are_private(places: Places) -> None:
    with WireClient(places) as client:
        client.call("ping")
    wait_for(places.agentd_log.exists, "the log")
    for path in (places.agentd_log, places.socket):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
