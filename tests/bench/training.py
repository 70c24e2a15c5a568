"""The trainer under finetui beside the same deepspeed command by hand: time to step 1, and steps a second.

python tests/bench/training.py [ROUNDS [STEPS]]

By hand means LLaMA-Factory's own ``llamafactory.launcher`` with the same launcher, files, threads and
switches for a CPU. Both run in turns; times are read off LLaMA-Factory's own files in both cases.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from presets import demo
from presets.render import render
from presets.spec import resolve
from remote_agent.job_environment import expand, free_port, has_gpu, step_environment, usable_cores
from remote_agent.job_spec import Step

OURS, STOCK = "remote_agent.trainers.llamafactory", "llamafactory.launcher"
#: What finetui sets for a machine without CUDA, as a person types it; the threads' waiting is ours alone.
CPU_SWITCHES = ("use_cpu=true", "bf16=false")


@dataclass(frozen=True)
class Training:
    """Seconds to the first line of trainer_log.jsonl, steps a second by transformers, CPU seconds of all."""

    first_step_s: float
    steps_per_s: float
    cpu_s: float


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    with tempfile.TemporaryDirectory(prefix="finetui-bench-") as folder:
        bench = Bench(Path(folder), steps)
        print(f"{steps} steps of the demo, {usable_cores()} cores, load {os.getloadavg()[0]:.1f}")
        seen: dict[str, list[Training]] = {OURS: [], STOCK: []}
        for number in range(rounds):
            for module in (OURS, STOCK) if number % 2 else (STOCK, OURS):
                seen[module].append(bench.train(module))
                print(f"  {module:36} {seen[module][-1]}", flush=True)
    compare("time to step 1", lambda one: one.first_step_s, seen, "s")
    compare("steps a second", lambda one: one.steps_per_s, seen, "/s")
    compare("CPU time of a run", lambda one: one.cpu_s, seen, "s")


def compare(
    name: str, value: Callable[[Training], float], seen: dict[str, list[Training]], unit: str
) -> None:
    ours, stock = (statistics.median(value(one) for one in seen[module]) for module in (OURS, STOCK))
    pairs = [value(a) / value(b) for a, b in zip(seen[OURS], seen[STOCK], strict=True)]
    print(
        f"{name:18} {ours:8.2f} {unit} beside {stock:8.2f} {unit} by hand: {ours / stock:.3f}x"
        f" (median of the pairs {statistics.median(pairs):.3f}x)"
    )


class Bench:
    """A prepared folder with its model, and the environment that is built."""

    def __init__(self, folder: Path, steps: int) -> None:
        self._folder, self._steps = folder, steps
        self._python = built_python()
        rows = folder / "rows.jsonl"
        demo.write_dataset(rows)
        sets = [f"max_steps={steps}", f"save_steps={steps}", "warmup=1"]
        prepared = render(resolve("demo", sets), rows, None, folder / "prepared")
        model, self._train = prepared.job["steps"]
        subprocess.run(self._argv(model["argv"], "model"), **self._where("model"), check=True)

    def train(self, module: str) -> Training:
        """Train once with ``module`` as the entry of every rank."""
        name = module.split(".", maxsplit=1)[0]
        argv = [module if word == OURS else word for word in self._argv(self._train["argv"], name)]
        by_hand = CPU_SWITCHES if module == STOCK and not has_gpu() else ()
        before, start = cpu_of_children(), time.perf_counter()
        process = subprocess.Popen([*argv, *by_hand], **self._where(name))
        log = self._folder / name / "output" / "trainer_log.jsonl"
        while not (log.exists() and log.stat().st_size):
            if process.poll() is not None:
                sys.exit((self._folder / f"{name}.log").read_text()[-4000:])
            time.sleep(0.02)
        first = time.perf_counter() - start
        if process.wait():
            sys.exit((self._folder / f"{name}.log").read_text()[-4000:])
        results = json.loads((log.parent / "train_results.json").read_text())
        shutil.rmtree(self._folder / name)
        return Training(first, self._steps / results["train_runtime"], cpu_of_children() - before)

    def _values(self, name: str) -> dict[str, str]:
        (self._folder / name).mkdir(exist_ok=True)
        return {
            "python": str(self._python),
            "bin": str(self._python.parent),
            "output": str(self._folder / name / "output"),
            "run": str(self._folder / name),
            "port": str(free_port()),
            "threads": str(usable_cores()),
            "accelerators_flag": "--num_gpus" if has_gpu() else "--num_accelerators",
        }

    def _argv(self, words: list[str], name: str) -> list[str]:
        values = self._values(name)
        return [expand(word, values) for word in words]

    def _where(self, name: str) -> dict[str, object]:
        own = {"FINETUI_RUN_DIR": str(self._folder / name)}
        environment = step_environment(os.environ, Step(name, ()), self._values(name), own, {})
        environment["TORCH_EXTENSIONS_DIR"] = str(self._python.parent.parent / "torch-extensions")
        log = (self._folder / f"{name}.log").open("wb")
        return {"cwd": self._folder / "prepared", "env": environment, "stdout": log, "stderr": log}


def built_python() -> Path:
    default = Path.home() / ".local/state/finetui/environments"
    environments = Path(os.environ.get("FINETUI_ENVIRONMENTS_DIR") or default)
    ready = sorted(environments.glob("llamafactory-*/READY.json"))
    if not ready:
        sys.exit(f"no trainer environment is built in {environments}; run finetui demo first")
    return ready[-1].parent / "bin" / "python"


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
