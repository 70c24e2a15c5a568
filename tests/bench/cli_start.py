"""How long `finetui --help` takes beside `python -c "import argparse"`: prints the ratio of the medians.

python tests/bench/cli_start.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

FINETUI = str(Path(sys.executable).parent / "finetui")
CASES = {
    "import argparse": [sys.executable, "-c", "import argparse"],
    "finetui --help": [FINETUI, "--help"],
    "finetui presets": [FINETUI, "presets"],
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    took: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, command in CASES.items():  # in turn, so that a busy moment hits all alike
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            took[name].append(time.perf_counter() - start)
    base = statistics.median(took["import argparse"])
    for name, seconds in took.items():
        median = statistics.median(seconds)
        print(f"{name:18} {median * 1000:7.1f} ms  {median / base:5.2f}x")


if __name__ == "__main__":
    main()
