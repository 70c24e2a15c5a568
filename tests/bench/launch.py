"""From ``finetui launch`` to the trainer's first process, with the environment built; the target is 1 s.

python tests/bench/launch.py [ROUNDS]

The first round also installs and starts the agent. Each launch is forced to stop once its process is there.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from presets import demo
from remote_agent.documents import read_json
from remote_agent.places import Places
from tests.fakes.agent_processes import end_agentd

FINETUI = str(Path(sys.executable).parent / "finetui")
TARGET_S = 1.0
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Launch:
    """Seconds since the command was started, and the CPU seconds of the command itself."""

    run_exists: float
    reply: float
    process: float
    command_cpu: float


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    with tempfile.TemporaryDirectory(prefix="finetui-bench-") as folder:
        places = own_places(Path(folder))
        rows = Path(folder) / "rows.jsonl"
        demo.write_dataset(rows)
        try:
            show("agent not running", [launch(places, rows)])
            show(f"agent running, median of {rounds}", [launch(places, rows) for _ in range(rounds)])
        finally:
            end_agentd(places)


def own_places(folder: Path) -> Places:
    environments = os.environ.get("FINETUI_ENVIRONMENTS_DIR")
    default = Path.home() / ".local/state/finetui/environments"
    places = Places(folder / "state", folder / "runtime", Path(environments) if environments else default)
    if not list(places.environments.glob("llamafactory-*/READY.json")):
        sys.exit(f"no trainer environment is built in {places.environments}; run finetui demo first")
    os.environ.update(places.as_environment(), FINETUI_HOME=str(folder / "home"))
    return places


def launch(places: Places, rows: Path) -> Launch:
    before, start, at = os.times(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
    sets = ["--set", "max_steps=2", "--set", "warmup=0"]
    done = subprocess.run(
        [FINETUI, "launch", "demo", "--data", str(rows), "--on", "local", *sets, "--json"],
        capture_output=True,
        check=True,
    )
    reply, after = time.clock_gettime(time.CLOCK_BOOTTIME) - start, os.times()
    run = json.loads(done.stdout)["run"]
    directory = places.runs / run
    process = job_started(directory) - start
    exists = (directory / "spec.json").stat().st_mtime - at
    for words in (["stop", run, "--force"], ["delete", run, "--yes"]):
        subprocess.run([FINETUI, *words, "--json"], capture_output=True, check=False)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Launch(exists, reply, process, cpu)


def job_started(directory: Path) -> float:
    """Return when the first step's process began, in seconds since boot, to 10 ms."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        job = (read_json(directory / "proc.json") or {}).get("job")
        if job:
            return float(job["start_ticks"]) / os.sysconf("SC_CLK_TCK")
        time.sleep(0.01)
    sys.exit(f"no process within {DEADLINE_S:.0f} s: {(directory / 'log').read_text()[-2000:]}")


def show(name: str, launches: list[Launch]) -> None:
    def median(field: str) -> float:
        return statistics.median(getattr(launch, field) for launch in launches)

    print(
        f"{name:30} run exists {median('run_exists'):.2f} s, process {median('process'):.2f} s"
        f" ({median('process') / TARGET_S:.2f} of the target; best {min(x.process for x in launches):.2f} s),"
        f" reply {median('reply'):.2f} s; the command's own CPU time {median('command_cpu'):.2f} s"
    )


if __name__ == "__main__":
    main()
