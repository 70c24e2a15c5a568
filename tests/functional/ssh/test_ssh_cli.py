"""The command line against a pod: what it asks, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

from remote_agent.places import Places
from tests.fakes.agent_runs import tree_spec
from tests.fakes.faulty_pod import FaultyPod
from tests.fakes.proxy import FaultyProxy
from tests.fakes.sshd import Laptop, PrivateSshd, make_key
from tests.fakes.waiting import wait_for

FINETUI = str(Path(sys.executable).parent / "finetui")


def finetui(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FINETUI, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        pid, self._fd = pty.fork()
        if pid == 0:
            os.execv(FINETUI, [FINETUI, *arguments])
        self._pid = pid
        self.screen = ""

    def expect(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.screen:
            assert time.monotonic() < deadline, self.screen
            assert self._read(), f"ended without {text!r}: {self.screen}"

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def end(self) -> int:
        while self._read():
            pass
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> bool:
        select.select([self._fd], [], [], 60)
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        self.screen += data.decode(errors="replace")
        return bool(data)


def test_doctor_reaches_a_pod(sshd: PrivateSshd) -> None:
    done = finetui("doctor", sshd.address, "--json")
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)


def test_the_terminal_is_asked_about_an_unknown_host_key(sshd: PrivateSshd, laptop: Laptop) -> None:
    laptop.known_hosts.unlink()
    terminal = Terminal("runs", "--on", sshd.address)
    terminal.expect("Trust it and connect?")
    assert "SHA256:" in terminal.screen
    terminal.type("no\n")
    assert terminal.end() == 3
    terminal = Terminal("checkpoints", "x", "--on", sshd.address)
    terminal.expect("Trust it and connect?")
    terminal.type("yes\n")
    assert terminal.end() == 2, "no such run is wrong use"
    assert "Traceback" not in terminal.screen
    assert finetui("doctor", sshd.address).returncode in (0, 1)


def test_the_terminal_is_asked_for_a_passphrase_that_is_not_shown(sshd: PrivateSshd, laptop: Laptop) -> None:
    locked = make_key(laptop.folder / "id_locked", passphrase="open sesame")
    sshd.authorize(locked)
    laptop.configure(key=locked)
    terminal = Terminal("doctor", sshd.address)
    terminal.expect("Passphrase of")
    terminal.type("open sesame\n")
    assert terminal.end() in (0, 1)
    assert "open sesame" not in terminal.screen


def test_without_a_terminal_nobody_is_asked_and_the_answer_is_3(sshd: PrivateSshd, laptop: Laptop) -> None:
    laptop.known_hosts.unlink()
    done = finetui("doctor", sshd.address)
    assert done.returncode == 3
    assert "not known" in done.stderr
    assert "SHA256:" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_way_not_to_get_there_is_exit_code_3(laptop: Laptop) -> None:
    for target in ("root@no-such-host.invalid", "root@127.0.0.1:1", "x@ssh.runpod.io"):
        done = finetui("doctor", target)
        assert done.returncode == 3, (target, done.stderr)
        assert "fix:" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_run_is_followed_pulled_stopped_and_deleted_over_a_line_that_is_cut(
    sshd: PrivateSshd, laptop: Laptop, places: Places, tmp_path: Path
) -> None:
    with FaultyProxy(sshd.port) as proxy:
        laptop.know(sshd, port=proxy.port)
        pod = FaultyPod(sshd, proxy, places, tmp_path / "job")
        run = pod.launch(tree_spec("--steps", "100000", "--step-s", "0.02"))
        pod.wait_running(run)
        records = tmp_path / "records"
        with records.open("wb") as output:
            follower = subprocess.Popen([FINETUI, "metrics", run, "-f", "--json"], stdout=output)
        for _ in range(3):
            size = records.stat().st_size
            wait_for(lambda size=size: records.stat().st_size > size, "the metrics to go on")
            proxy.cut()
        done = finetui("stop", run, "--json")
        assert done.returncode == 0, done.stderr
        assert follower.wait(60) == 0
        steps = [json.loads(line) for line in records.read_text().splitlines()]
        logged = [record["step"] for record in steps if record["event"] == "log"]
        assert logged == list(range(1, logged[-1] + 1)), "a record was lost or came twice"
        assert json.loads(finetui("status", run, "--json").stdout)["state"] == "stopped"
        assert json.loads(finetui("status", run, "--json").stdout)["target"] == pod.target
        (checkpoint,) = json.loads(finetui("checkpoints", run, "--json").stdout)
        done = finetui("pull", run, str(tmp_path / "pulled"))
        assert done.returncode == 0, done.stderr
        (weights,) = (tmp_path / "pulled").rglob("model.safetensors")
        assert weights.read_bytes() == (Path(checkpoint["path"]) / "model.safetensors").read_bytes()
        assert finetui("delete", run).returncode == 0
        assert not (places.runs / run).exists()
