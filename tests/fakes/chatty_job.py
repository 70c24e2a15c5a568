"""A job that logs and measures at a steady pace until it is told to finish.

    chatty_job.py --bytes N [--rate BYTES_PER_S] [--code N] [--seed N]

The log holds what logs hold: long lines, carriage returns, split and broken UTF-8. It ends once N bytes are
written and the file ``finish`` is in the run directory; ``heartbeat`` ticks meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path

_CHUNK_BYTES = 4096


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=0)
    parser.add_argument("--rate", type=float, default=2_000_000.0)
    parser.add_argument("--code", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    run = Path(os.environ["FINETUI_RUN_DIR"])
    noise = random.Random(options.seed)
    say(run, event="begin", step=0, total=10**9, attempt=int(os.environ["FINETUI_ATTEMPT"]))
    written = step = 0
    while True:
        step += 1
        os.write(1, chunk(noise, step))
        written += _CHUNK_BYTES
        (run / "heartbeat").write_text(str(step))
        if step % 20 == 0:
            say(run, event="log", step=step, total=10**9, loss=1.0 / step, lr=1e-4)
        if written >= options.bytes and (run / "finish").exists():
            break
        time.sleep(_CHUNK_BYTES / options.rate)
    say(run, event="end", step=step, stopped=False)
    return options.code


def chunk(noise: random.Random, step: int) -> bytes:
    text = f"step {step} ☃ loss {noise.random()}\r{step}%\n".encode()
    text += noise.randbytes(64) + "é".encode() * noise.randrange(40)
    return (text + b"x" * _CHUNK_BYTES)[: _CHUNK_BYTES - 1] + (b"\n" if step % 7 else b"y")


def say(run: Path, **record: object) -> None:
    line = json.dumps({"t": time.time(), **record}) + "\n"
    descriptor = os.open(run / "metrics.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
