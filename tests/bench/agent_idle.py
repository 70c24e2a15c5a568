"""What an idle agentd costs: CPU share and resident memory, without and with one quiet connection.

Usage: python tests/bench/agent_idle.py [SECONDS]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from remote_agent.places import Places
from tests.fakes.agent_processes import agentd_pids, end_agentd
from tests.fakes.wire_client import WireClient

CORE_LIMIT = 0.01
MEMORY_LIMIT = 45 * 1024 * 1024


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory(prefix="finetui-bench-") as folder:
        root = Path(folder)
        places = Places(root / "state", root / "runtime", root / "environments")
        try:
            with WireClient(places) as client:
                client.call("ping")
                (pid,) = agentd_pids(places)
                report("one quiet connection", pid, seconds)
                client.call("sub.open", kind="runs")
                report("following runs, none there", pid, seconds)
                client.call("sub.open", kind="samples", every_s=1.0)
                report("sampling every second", pid, seconds)
            report("no connection", pid, seconds)
        finally:
            end_agentd(places)


def report(name: str, pid: int, seconds: float) -> None:
    before, start = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    share = (cpu_seconds(pid) - before) / (time.monotonic() - start)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    print(
        f"{name:28} CPU {100 * share:5.2f} % of a core ({share / CORE_LIMIT:.2f} of the limit), "
        f"RSS {resident / 1e6:5.1f} MB ({resident / MEMORY_LIMIT:.2f} of the limit)"
    )


def cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
