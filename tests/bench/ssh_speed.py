"""finetui beside OpenSSH on the same private sshd: prints seconds, MB/s and ratios; asserts nothing.

    python tests/bench/ssh_speed.py [--mb 200] [--rounds 3] [--stuck-mb 1000] [--delay-ms 60]

The second part runs behind a proxy that delays each way by half of ``--delay-ms``.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from remote_agent.places import Places
from tests.fakes.agent_processes import agentd_pids, end_agentd
from tests.fakes.proxy import FaultyProxy
from tests.fakes.sshd import Laptop, PrivateSshd
from tui.operations import targets
from tui.operations.follow import ConnectionChanged, Event, Follower
from tui.remote import transfer
from tui.remote.agent_client import AgentClient
from tui.remote.ssh_ask import nobody_to_ask
from tui.remote.streams import StreamData, StreamEvent
from tui.state.spool import LogSpool

RUN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


class Bench:
    """One way to the pod: direct, or through a proxy."""

    def __init__(self, folder: Path, laptop: Laptop, sshd: PrivateSshd, places: Places, port: int) -> None:
        self.folder, self.places, self.laptop = folder, places, laptop
        self.target = f"{sshd.user}@127.0.0.1:{port}"
        self.ssh = ["-F", str(laptop.config), "-o", "StrictHostKeyChecking=no"]
        self.host = [*self.ssh, "-p", str(port), f"{sshd.user}@127.0.0.1"]
        self.sftp = [*self.ssh, "-P", str(port), f"{sshd.user}@127.0.0.1"]
        self.port = port

    def connect(self) -> AgentClient:
        return targets.connect(self.target, nobody_to_ask())

    def run(self, *command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)  # fmt: skip

    def log_stream(self, size: int) -> float:
        """Seconds to bring a whole log into the spool, connected already."""
        copy = self.folder / "spool"
        copy.unlink(missing_ok=True)
        spool, done = LogSpool(copy), threading.Event()

        def take(event: StreamEvent) -> None:
            if isinstance(event, StreamData):
                spool.feed(event.offset, event.data)
            if spool.size >= size:
                done.set()

        with self.connect() as client:
            start = time.monotonic()
            client.subscribe("log", take, run=RUN)
            done.wait()
            seconds = time.monotonic() - start
        spool.close()
        return seconds

    def ssh_cat(self, size: int) -> float:
        """Seconds of `ssh HOST cat LOG > FILE` over a connection that is up already."""
        with self._master(), (self.folder / "cat").open("wb") as output:
            start = time.monotonic()
            subprocess.run(
                ["ssh", *self._mux(), *self.host, "cat", str(self.places.runs / RUN / "log")],
                check=True, stdout=output, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            return time.monotonic() - start

    def connect_first_answer(self) -> float:
        start = time.monotonic()
        with self.connect() as client:
            client.request("ping")
            return time.monotonic() - start

    def ssh_true(self) -> float:
        start = time.monotonic()
        self.run("ssh", *self.host, "true")
        return time.monotonic() - start

    def reconnects(self, proxy: FaultyProxy, count: int) -> list[float]:
        """Seconds from each cut of the line until the follower is live again, its first backoff included."""
        live = threading.Semaphore(0)

        def take(event: Event) -> None:
            if isinstance(event, ConnectionChanged) and event.state == "live":
                live.release()

        follower = Follower(
            self.target, take, connect=functools.partial(targets.connect, ask=nobody_to_ask())
        )
        follower.start()
        live.acquire()
        times = []
        for _ in range(count):
            start = time.monotonic()
            proxy.cut()
            live.acquire()
            times.append(time.monotonic() - start)
        follower.close()
        return times

    def agent_peak_with_a_stuck_client(self, size: int) -> int:
        """Bytes that the agent held at most while a log grew by ``size`` and a client read none of it."""
        run = "01ARZ3NDEKTSV4RRFFQ69G5FAW"
        log = self.places.runs / run / "log"
        log.parent.mkdir(parents=True)
        (log.parent / "spec.json").write_text('{"kind": "train", "preset": "bench"}')
        log.write_bytes(b"first line\n")
        reading = threading.Event()
        with self.connect() as client, log.open("ab") as file:
            client.subscribe("log", lambda _: reading.wait() and None, run=run)
            (agent,) = agentd_pids(self.places)
            block, written = b"x" * 99 + b"\n", 0
            while written < size:
                written += file.write(block * 10_000)
            # The agent looks at a growing file at least twice a second.
            time.sleep(1.5)
            peak = _peak_bytes(agent)
            reading.set()
        shutil.rmtree(log.parent)
        return peak

    def upload(self, path: Path) -> float:
        sha256 = transfer.sha256_of(path)
        (self.places.blobs / sha256).unlink(missing_ok=True)
        with self.connect() as client:
            start = time.monotonic()
            transfer.upload_blobs(client, {sha256: path})
            return time.monotonic() - start

    def sftp_put(self, path: Path) -> float:
        batch = self.folder / "batch"
        batch.write_text(f"put {path} {self.folder}/remote-copy\n")
        start = time.monotonic()
        self.run("sftp", "-b", str(batch), *self.sftp)
        return time.monotonic() - start

    def pings(self, count: int) -> list[float]:
        with self.connect() as client:
            return [_timed(lambda: client.request("ping")) for _ in range(count)]

    def echoes(self, count: int) -> list[float]:
        """Round trips through `cat` on a channel of OpenSSH's ControlMaster."""
        with self._master():
            process = subprocess.Popen(
                ["ssh", *self._mux(), *self.host, "cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            stdin, stdout = process.stdin, process.stdout

            def echo() -> None:
                stdin.write(b"x" * 60)
                stdout.read(60)

            echo()
            times = [_timed(echo) for _ in range(count)]
            stdin.close()
            process.wait()
            return times

    def _mux(self) -> list[str]:
        return ["-o", f"ControlPath={self.folder}/mux-{self.port}"]

    def _master(self) -> _Master:
        return _Master(["ssh", *self._mux(), "-o", "ControlMaster=yes", "-N", "-f", *self.host],
                       ["ssh", *self._mux(), "-O", "exit", *self.host])  # fmt: skip


class _Master:
    def __init__(self, start: list[str], stop: list[str]) -> None:
        self._start, self._stop = start, stop

    def __enter__(self) -> None:
        subprocess.run(self._start, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)  # fmt: skip

    def __exit__(self, *_: object) -> None:
        subprocess.run(self._stop, check=False, capture_output=True)


def _peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def _timed(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def compare(
    what: str, ours: Callable[[], float], theirs: Callable[[], float], rounds: int, mb: float = 0.0
) -> None:
    """Run both in turn and print the best of each, with the ratio of ours to theirs."""
    found = [(ours(), theirs()) for _ in range(rounds)]
    mine, other = min(pair[0] for pair in found), min(pair[1] for pair in found)
    speed = f"{mb / mine:8.1f} MB/s {mb / other:8.1f} MB/s   speed x{other / mine:.2f}" if mb else ""
    print(
        f"{what:28} {mine * 1000:9.1f} ms {other * 1000:9.1f} ms   time x{mine / other:.2f} {speed}",
        flush=True,
    )


def measure(bench: Bench, path: Path, size: int, rounds: int) -> None:
    mb = size / 1e6
    compare("connect to first answer", bench.connect_first_answer, bench.ssh_true, rounds * 3)
    mine, other = bench.pings(300), bench.echoes(300)
    for name, pick in (("p50", 50), ("p95", 95)):
        one, two = (statistics.quantiles(times, n=100)[pick - 1] for times in (mine, other))
        print(f"{'round trip ' + name:28} {one * 1000:9.3f} ms {two * 1000:9.3f} ms   time x{one / two:.2f}")
    compare("log into the spool", lambda: bench.log_stream(size), lambda: bench.ssh_cat(size), rounds, mb)
    compare("upload", lambda: bench.upload(path), lambda: bench.sftp_put(path), rounds, mb)


def report_reconnects(bench: Bench, proxy: FaultyProxy) -> None:
    times = sorted(bench.reconnects(proxy, 9))
    print(f"{'cut to live again':28} {times[4] * 1000:9.1f} ms median {times[-1] * 1000:9.1f} ms worst of 9")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stuck-mb", type=int, default=1000)
    parser.add_argument("--delay-ms", type=float, default=60.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="finetui-bench-"))
    patch = pytest.MonkeyPatch()
    places = Places(folder / "state", folder / "run", folder / "environments")
    laptop = Laptop(folder / "laptop", patch)
    sshd = PrivateSshd(folder / "pod", env=places.as_environment(), options=["Subsystem sftp internal-sftp"])
    sshd.authorize(laptop.key)
    laptop.know(sshd)
    size = options.mb * 1_000_000
    log = places.runs / RUN / "log"
    log.parent.mkdir(parents=True)
    line = b"{'loss': 1.2345, 'grad_norm': 0.6789, 'learning_rate': 1e-04, 'epoch': 0.42}  12%|#| 120/1000\n"
    log.write_bytes((line * (size // len(line) + 1))[:size])
    (log.parent / "exit.json").write_text('{"state": "finished", "code": 0}')
    (log.parent / "spec.json").write_text('{"kind": "train", "preset": "bench"}')
    payload = folder / "payload"
    payload.write_bytes(os.urandom(size))
    print(f"{'':28} {'finetui':>12} {'OpenSSH':>12}")
    try:
        with sshd:
            print("loopback")
            measure(Bench(folder, laptop, sshd, places, sshd.port), payload, size, options.rounds)
            near = Bench(folder, laptop, sshd, places, sshd.port)
            peak = near.agent_peak_with_a_stuck_client(options.stuck_mb * 1_000_000)
            print(f"agent's peak, {options.stuck_mb} MB not read {peak / 1e6:9.1f} MB")
            with FaultyProxy(sshd.port) as proxy:
                laptop.know(sshd, port=proxy.port)
                report_reconnects(Bench(folder, laptop, sshd, places, proxy.port), proxy)
            with FaultyProxy(sshd.port, delay_s=options.delay_ms / 2000) as proxy:
                laptop.know(sshd, port=proxy.port)
                print(f"{options.delay_ms:.0f} ms round trip")
                far = Bench(folder, laptop, sshd, places, proxy.port)
                measure(far, _part(payload), _part(payload).stat().st_size, 1)
                report_reconnects(far, proxy)
    finally:
        end_agentd(places)
        patch.undo()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _part(payload: Path) -> Path:
    """Return the first 40 MB: a proxy in Python is the slowest link of the second part."""
    part = payload.with_name("part")
    if not part.exists():
        part.write_bytes(payload.read_bytes()[:40_000_000])
    return part


if __name__ == "__main__":
    sys.exit(main())
