"""The app under load: the event loop's worst stall, CPU, bytes to the terminal, metric written -> painted.

    python tests/bench/loop.py [--seconds 10]

The real app in a pseudo-terminal of 120x40, over the real wire to the scripted agent, which runs in a process
of its own so that its cost is not counted.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import multiprocessing.connection
import os
import pty
import re
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path

SIZE = (120, 40)
RUN = "01J9ZZZZZZ0000000000000AAA"
LOG_LINE = b"[INFO|trainer.py:3815] 2026-11-21 19:14:06,926 >> step %09d of the epoch, xxxxxxxxxx\n"
LINES_PER_S = 5000
METRICS_PER_S = 20
GPUS = 8
#: The agent looks for new bytes this often while they come (FAST_POLL_S).
POLL_S = 0.05
#: The clock of the loop ticks this often; a later tick is a stall.
TICK_S = 0.01
_TIME = re.compile(rb'"t": ([0-9.]+),')


@dataclass
class Load:
    """What the agent sends a second."""

    lines_per_s: int = 0
    metrics_per_s: int = 0
    samples: bool = False


LOADS = {
    "idle": Load(),
    "gauges": Load(samples=True),
    "full": Load(LINES_PER_S, METRICS_PER_S, True),
}


@dataclass
class Figures:
    """What one load cost."""

    stalls_ms: list[float] = field(default_factory=list)
    #: CPU time of the loop's thread between two ticks: what of a stall is its own, on a shared machine.
    busy_ms: list[float] = field(default_factory=list)
    cpu_percent: float = 0.0
    bytes_per_s: float = 0.0
    lags_ms: list[float] = field(default_factory=list)


# The pod: a process of its own.


def serve(listener: socket.socket, commands: multiprocessing.connection.Connection) -> None:
    """Be the scripted agent for one client and send what it is told to."""
    from tests.fakes.agent import ScriptedAgent, _Connection

    agent = ScriptedAgent()
    agent.add(RUN, phase="training", total=100_000)
    agent.train(RUN, 1, 200, total=100_000)
    end, _ = listener.accept()
    connection = _Connection(agent, end)
    agent._connections.append(connection)
    connection.start()
    load, step, line = Load(), 200, 0
    begin, began = time.monotonic(), time.time()
    sent_lines = sent_metrics = sent_samples = 0
    while True:
        while commands.poll():
            name = commands.recv()
            if name == "stop":
                return
            load, begin, began = LOADS[name], time.monotonic(), time.time()
            sent_lines = sent_metrics = sent_samples = 0
        elapsed = time.monotonic() - begin
        if (due := int(elapsed * load.lines_per_s) - sent_lines) > 0:
            agent.log(RUN, b"".join(LOG_LINE % (line + number) for number in range(due)))
            sent_lines, line = sent_lines + due, line + due
        while sent_metrics < int(elapsed * load.metrics_per_s):
            step, sent_metrics = step + 1, sent_metrics + 1
            # t is when it was written, up to a poll ago; train() adds the step to the clock.
            agent.wall = began + sent_metrics / load.metrics_per_s - step
            agent.train(RUN, step, step, total=100_000)
        if load.samples and sent_samples < int(elapsed):
            sent_samples += 1
            agent.sample(sample(sent_samples))
        time.sleep(POLL_S)


def sample(number: int):
    from remote_agent.protocol import GpuSample, Sample

    gib = 1024**3
    gpus = tuple(
        GpuSample(
            index, "NVIDIA H100 80GB HBM3", 60 + (number * 7 + index * 5) % 40,
            (60 + (number + index) % 15) * gib, 80 * gib, 50.0 + (number + index) % 30,
            400.0 + (number * 13 + index * 7) % 300, 700.0,
        )
        for index in range(GPUS)
    )  # fmt: skip
    return Sample(
        time.time(),
        30.0 + number % 50,
        64,
        (200 + number % 40) * gib,
        1024 * gib,
        700 * gib,
        2000 * gib,
        gpus,
    )


# The laptop: a process in a terminal.


def application(address: str, figures: str) -> None:
    """Run the real app; write each late tick of the loop, and the age of each metric when it is painted."""
    import asyncio

    import tui.app
    from tests.fakes.agent import SocketLink
    from tui.app import FinetuiApp
    from tui.config import Config
    from tui.remote.agent_client import AgentClient
    from tui.screens.backend import Backend
    from tui.widgets.chart import Chart

    def connect(target: str) -> AgentClient:
        end = socket.socket(socket.AF_UNIX)
        end.connect(address)
        client = AgentClient(SocketLink(end), target=target)
        client.greet()
        return client

    out = Path(figures).open("w", buffering=1)  # noqa: SIM115
    arrived: list[float] = []
    drawn: list[float] = []
    rasterise = Chart._rasterise

    def rasterised(chart: Chart) -> None:
        rasterise(chart)
        if chart.id == "loss":
            drawn.extend(arrived)
            arrived.clear()

    Chart._rasterise = rasterised

    class Measured(FinetuiApp):
        CSS_PATH = Path(tui.app.__file__).with_name("app.tcss")

        def on_mount(self) -> None:
            super().on_mount()
            # Only when asked to: 100 wake-ups a second cost more than the app does when it is idle.
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.start_clock)

        def start_clock(self) -> None:
            self.clock = asyncio.get_running_loop().create_task(self.tick())

        async def tick(self) -> None:
            while True:
                due, cpu = time.perf_counter() + TICK_S, time.thread_time()
                await asyncio.sleep(TICK_S)
                late = (time.perf_counter() - due) * 1000
                if late > 3:
                    out.write(f"stall {time.time()} {late:.1f}\n")
                    out.write(f"busy {time.time()} {(time.thread_time() - cpu) * 1000:.1f}\n")

        def on_metrics_added(self, message) -> None:
            super().on_metrics_added(message)
            arrived.extend(float(at) for at in _TIME.findall(message.data))

        def _display(self, screen, renderable) -> None:
            super()._display(screen, renderable)
            now = time.time()
            out.writelines(f"painted {now} {(now - at) * 1000:.1f}\n" for at in drawn)
            drawn.clear()

    config = Config(targets=("local",))
    Measured(Backend(config, connect=connect), config, RUN).run()


class Terminal:
    """The app in a pseudo-terminal; counts the bytes that it is sent."""

    def __init__(self, address: str, home: str) -> None:
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        self.figures = Path(home) / "figures"
        environment = {
            **os.environ,
            **{"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "120", "LINES": "40"},
            **{"FINETUI_HOME": home, "PYTHONPATH": str(Path.cwd())},
        }
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--app", address, str(self.figures)],
            stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.sent = b""

    def read(self, seconds: float) -> int:
        """Take what is sent for so long; return how many bytes."""
        end, count = time.monotonic() + seconds, 0
        while (left := end - time.monotonic()) > 0:
            if select.select([self._master], [], [], left)[0]:
                try:
                    data = os.read(self._master, 65536)
                except OSError:
                    raise SystemExit(f"the app ended:\n{self.sent.decode(errors='replace')}") from None
                self.sent = (self.sent + data)[-100_000:]
                count += len(data)
        return count

    def cpu_s(self) -> float:
        """CPU seconds of the app so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def measure(terminal: Terminal, seconds: float) -> Figures:
    """Watch the app for so long."""
    begin, cpu, wall = time.time(), terminal.cpu_s(), time.monotonic()
    sent = terminal.read(seconds)
    took = time.monotonic() - wall
    found = Figures(cpu_percent=100 * (terminal.cpu_s() - cpu) / took, bytes_per_s=sent / took)
    for entry in terminal.figures.read_text().splitlines():
        name, at, value = entry.split()
        if float(at) >= begin:
            {"stall": found.stalls_ms, "busy": found.busy_ms, "painted": found.lags_ms}[name].append(
                float(value)
            )
    return found


def bare_stalls_ms(seconds: float) -> float:
    """Worst lateness of the same clock in a loop that does nothing: what the machine itself adds."""
    worst, end = 0.0, time.perf_counter() + seconds
    while (due := time.perf_counter() + TICK_S) < end:
        time.sleep(TICK_S)
        worst = max(worst, (time.perf_counter() - due) * 1000)
    return worst


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else math.nan


def main(seconds: float) -> None:
    """Print the figures of each load with their targets."""
    with tempfile.TemporaryDirectory() as home:
        address = f"{home}/agent"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen()
        ours, theirs = multiprocessing.Pipe()
        pod = multiprocessing.get_context("fork").Process(target=serve, args=(listener, theirs), daemon=True)
        pod.start()
        terminal = Terminal(address, home)
        try:
            terminal.read(6)
            if b"training" not in terminal.sent:
                raise SystemExit(f"the app did not open the run:\n{terminal.sent[-2000:]!r}")
            found = {}
            for name in LOADS:
                ours.send(name)
                if name == "gauges":
                    terminal.process.send_signal(signal.SIGUSR1)
                terminal.read(3)
                found[name] = measure(terminal, seconds)
            ours.send("stop")
        finally:
            terminal.close()
            pod.terminate()
    report(found, bare_stalls_ms(3.0))


def report(found: dict[str, Figures], bare_ms: float) -> None:
    """Print one line a load."""
    print(f"{'':8}{'CPU %':>8}{'worst stall ms':>16}{'of it CPU':>11}{'kB/s':>8}{'p95 to painted ms':>20}")
    for name, one in found.items():
        stall, busy = max(one.stalls_ms, default=0.0), max(one.busy_ms, default=0.0)
        print(
            f"{name:8}{one.cpu_percent:8.1f}{stall:16.1f}{busy:11.1f}{one.bytes_per_s / 1e3:8.1f}"
            f"{p95(one.lags_ms):20.0f}"
        )
    full, idle, gauges = found["full"], found["idle"], found["gauges"]
    print(f"the machine's own worst lateness: {bare_ms:.1f} ms")
    for text, value, most in (
        ("worst stall at full load, ms", max(full.stalls_ms, default=0.0), 50),
        ("CPU at full load, %", full.cpu_percent, 15),
        ("CPU idle, %", idle.cpu_percent, 1),
        ("kB/s when only gauges move", gauges.bytes_per_s / 1e3, 15),
        ("p95 from written to painted, ms", p95(full.lags_ms), 250),
    ):
        print(f"{text:34}{value:8.1f}  of at most {most}: {value / most:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--app", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.app:
        application(*arguments.app)
    else:
        main(arguments.seconds)
