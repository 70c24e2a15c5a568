"""A trainer's process tree without the trainer: children in own sessions that ignore SIGTERM and fork on.

    trainer_tree.py [--steps N] [--step-s S] [--children N] [--stubborn] [--code N] [--save]

Writes the metrics that a callback would, honours stop.json as one does, and keeps ``heartbeat`` in the run
directory ticking so that a test can see that the job never noticed what died around it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--step-s", type=float, default=0.01)
    parser.add_argument("--children", type=int, default=0)
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--deaf", action="store_true", help="never look at stop.json")
    parser.add_argument("--code", type=int, default=0)
    parser.add_argument("--resume", default="")
    options = parser.parse_args()
    run = Path(os.environ["FINETUI_RUN_DIR"])
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(options.children):
        start_child()
    (run / "tree-ready").touch()
    start = int(options.resume.rpartition("-")[2]) if options.resume else 0
    attempt = int(os.environ["FINETUI_ATTEMPT"])
    say(run, event="begin", step=start, total=options.steps, attempt=attempt)
    for step in range(start + 1, options.steps + 1):
        time.sleep(options.step_s)
        (run / "heartbeat").write_text(str(time.monotonic_ns()))
        say(
            run, event="log", step=step, total=options.steps, loss=1.0 / step, lr=1e-4, peak_vram_bytes=[step]
        )
        if not options.deaf and (run / "stop.json").exists():
            save(run, step)
            say(run, event="end", step=step, stopped=True)
            return 0
    save(run, options.steps)
    say(run, event="end", step=options.steps, stopped=False)
    if options.code:
        raise_like_a_trainer(options.code)
    return 0


def raise_like_a_trainer(code: int) -> None:
    print("[rank0]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", file=sys.stderr)
    print("torch.distributed.elastic.multiprocessing.errors.ChildFailedError:", file=sys.stderr, flush=True)
    os._exit(code)


def start_child() -> None:
    """Fork a worker in a session of its own, as torchrun does; its own child minds SIGTERM as little."""
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
        while True:
            time.sleep(60)


def save(run: Path, step: int) -> None:
    """Leave a checkpoint with everything that makes one complete."""
    folder = run / "output" / f"checkpoint-{step}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
        (folder / name).write_bytes(b"weights")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    say(run, event="save", step=step, path=folder.name)


def say(run: Path, **record: object) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"t": time.time(), **record}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
