"""How fast and in how much memory `finetui data` reads a large file, against what was promised.

Usage: python tests/bench/data.py [MEGABYTES]     (1000 by default; the file is written to TMPDIR first)
"""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

SPEED_FLOOR = 100e6
MEMORY_LIMIT = 64e6
#: Prints seconds of CPU and the peak of resident bytes, before and after the file is looked at.
LOOK = """
import sys, time
from pathlib import Path
from presets.dataset import inspect
from presets.mapping import parse_mapping
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
before, start = peak(), time.process_time()
report = inspect(Path(sys.argv[1]))
print(time.process_time() - start, before, peak(), report.rows)
"""


def main() -> None:
    size = float(sys.argv[1]) * 1e6 if len(sys.argv) > 1 else 1e9
    with tempfile.TemporaryDirectory(prefix="finetui-bench-") as folder:
        for name, write in WRITERS.items():
            path = Path(folder) / name
            with path.open("w", encoding="utf-8", newline="") as file:
                write(file, size)
            report(path)
            path.unlink()


def report(path: Path) -> None:
    command = [sys.executable, "-c", LOOK, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    start = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    wall_s = time.monotonic() - start
    cpu_s, before, peak, rows = map(float, done.stdout.split())
    size = path.stat().st_size
    print(
        f"{path.name:16} {size / 1e6:6.0f} MB, {rows:9.0f} rows: {size / cpu_s / 1e6:4.0f} MB/s of CPU time "
        f"({size / cpu_s / SPEED_FLOOR:.2f} of the promise), {size / wall_s / 1e6:4.0f} MB/s of the clock, "
        f"{(peak - before) / 1e6:4.1f} MB more memory ({(peak - before) / MEMORY_LIMIT:.2f} of the limit)"
    )


def blocks(size: float, row: Callable[[Callable[[int], str]], Any]) -> Iterator[list[Any]]:
    """Rows of random words, a thousand at a time, until they hold about ``size`` bytes."""
    draw = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(5000)]
    written = 0
    while written < size:
        rows = [row(lambda most: " ".join(draw.choices(words, k=draw.randint(5, most)))) for _ in range(1000)]
        written += len(json.dumps(rows))
        yield rows


def short(text: Callable[[int], str]) -> dict[str, str]:
    return {"question": text(15), "context": text(40), "answer": text(20)}


def chat(text: Callable[[int], str]) -> dict[str, Any]:
    roles = ("user", "assistant") * 2
    return {"messages": [{"role": role, "content": text(80)} for role in roles]}


def write_lines(row: Callable[[Callable[[int], str]], Any]) -> Callable[[IO[str], float], None]:
    def write(file: IO[str], size: float) -> None:
        for rows in blocks(size, row):
            file.writelines(json.dumps(item) + "\n" for item in rows)

    return write


def write_csv(file: IO[str], size: float) -> None:
    writer = csv.writer(file)
    writer.writerow(["question", "context", "answer"])
    for rows in blocks(size, short):
        writer.writerows(row.values() for row in rows)


WRITERS = {"short.jsonl": write_lines(short), "messages.jsonl": write_lines(chat), "short.csv": write_csv}

if __name__ == "__main__":
    main()
