"""Nobody gets in: the socket, the listeners, and a hostile machine at the other end."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_agent.identity import Proc
from tests.fakes.faulty_pod import FaultyPod, chatty_spec
from tests.fakes.following import Following
from tests.fakes.sshd import Laptop, PrivateSshd
from tui.errors import FinetuiError
from tui.operations import targets
from tui.remote.ssh_ask import nobody_to_ask

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


@pytest.fixture
def other_user() -> Iterator[str]:
    """The name of a user who is neither root nor ours."""
    if os.getuid() != 0:
        pytest.skip("only root can act as somebody else")
    yield "nobody"


def test_the_socket_is_ours_alone(pod: FaultyPod) -> None:
    with pod.connect():
        assert stat.S_IMODE(pod.places.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(pod.places.runtime.stat().st_mode) == 0o700
        assert stat.S_IMODE(pod.places.state.stat().st_mode) == 0o700


def test_another_user_is_refused_even_where_the_files_let_him_in(pod: FaultyPod, other_user: str) -> None:
    attempt = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.settimeout(10)\n"
        "s.connect(sys.argv[1])\n"
        'request = b\'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"proto":[1,1]}}\\n\'\n'
        "try:\n"
        "    s.sendall(request)\n"
        "    print('answer', s.recv(1000))\n"
        "except ConnectionError:\n"
        "    print('answer', b'')\n"
    )
    command = ["runuser", "-u", other_user, "--", "/usr/bin/env", "python3", "-c", attempt]
    with pod.connect() as client:
        path = pod.places.socket
        closed = subprocess.run([*command, path], capture_output=True, text=True, check=False, cwd="/")
        if "python3" in closed.stderr and "No such file" in closed.stderr:
            pytest.skip("no Python that another user may run")
        assert "PermissionError" in closed.stderr
        path.parent.chmod(0o755)
        path.chmod(0o666)
        opened = subprocess.run([*command, path], capture_output=True, text=True, check=False, cwd="/")
        assert opened.stdout.strip() == "answer b''", (opened.stdout, opened.stderr)
        assert client.request("ping") == {}


def test_nothing_of_ours_listens_but_on_loopback(pod: FaultyPod) -> None:
    run = pod.launch(chatty_spec())
    with Following(pod.target, run) as following, pod.connect() as client:
        following.wait_bytes(1000)
        port = client.forward(1)
        proc = Proc()
        mine = f"FINETUI_STATE_DIR={pod.places.state}\0".encode()
        on_the_pod = [pid for pid in proc.pids() if mine in proc.environ(pid)]
        assert len(on_the_pod) >= 3, "agent, relay and supervisor are looked at"
        listening = [address for pid in [*on_the_pod, os.getpid()] for address in _listening(pid)]
        assert any(address.endswith(f":{port:04X}") for address in listening), "the forward is seen"
        assert [address for address in listening if address.split(":")[0] not in LOOPBACK] == []
        pod.finish(run)


def _listening(pid: int) -> list[str]:
    """Return the addresses on which the process listens, written as in /proc/net/tcp."""
    inodes = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(str(descriptor.readlink()))
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.append(fields[1])
    return found


HOSTILE = {
    "huge header": "printf '%s 1\\n' $m; head -c 100000000 /dev/zero | tr '\\0' a",
    "endless stream": 'printf \'%s 1\\n\' $m; while :; do echo \'{"jsonrpc":"2.0","method":"x"}\'; done',
    "no object": "printf '%s 1\\n' $m; echo '[1,2]'; cat >/dev/null",
    "wrong types": 'printf \'%s 1\\n\' $m; echo \'{"id":1,"result":{"proto":"x"}}\'; cat >/dev/null',
    "deep nesting": "printf '%s 1\\n' $m; head -c 60000 /dev/zero | tr '\\0' '['; echo; cat >/dev/null",
    "negative payload": "printf '%s 1\\n' $m; echo '{\"id\":1,\"n\":-1}'; cat >/dev/null",
    "huge payload": "printf '%s 1\\n' $m; echo '{\"id\":1,\"n\":99999999999}'; cat >/dev/null",
    "binary": "printf '%s 1\\n' $m; head -c 1000 /dev/urandom; cat >/dev/null",
    "other protocol": "printf '%s 999999999999999999999\\n' $m; cat >/dev/null",
    "hangs up": "printf '%s 1\\n' $m",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_agent_is_an_error_and_nothing_worse(
    sshd: PrivateSshd, laptop: Laptop, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.remote.agent_client.AgentClient.greet.__defaults__", (3.0,))
    script = tmp_path / "hostile.sh"
    script.write_text(f"read -r s; read -r m; {HOSTILE[what]}\n")
    sshd.stop()
    sshd.options.append(f"ForceCommand sh {script}")
    sshd.start()
    before = _files(laptop.folder)
    with pytest.raises(FinetuiError) as caught:
        targets.connect(sshd.address, nobody_to_ask())
    assert caught.value.message
    assert _files(laptop.folder) - before <= {"finetui"}, "something was written"


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
