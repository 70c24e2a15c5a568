"""Cost of the log beside Textual's Log and RichLog, in one run: feeding, opening, drawing, searching.

    python tests/bench/log.py

CPU time of the process unless said; lines of 113 bytes.
"""

from __future__ import annotations

import asyncio
import math
import random
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from textual.app import App, ComposeResult
from textual.widget import Widget
from textual.widgets import Log, RichLog

from tui.state.search import compile_pattern, find_lines
from tui.state.spool import LogSpool
from tui.widgets.logview import LogView

LINES = 1_000_000
FEW = 20_000
#: The screen paints in the next sixtieth of a second; waiting costs no CPU.
PAINTED_S = 0.06


def line(number: int) -> str:
    return f"{number:09d} [rank0] step {number} loss={random.random():.4f} " + "x" * 62


class Bare(App[None]):
    """One widget on the whole screen."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget

    def compose(self) -> ComposeResult:
        yield self.widget


async def feeding(widget: Widget, feed: Callable[[list[str]], None], count: int) -> float:
    """CPU microseconds a line, in batches of 1,000, painted after each."""
    lines = [line(number) for number in range(count)]
    async with Bare(widget).run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        begin = time.process_time()
        for first in range(0, count, 1000):
            feed(lines[first : first + 1000])
            await pilot.pause(PAINTED_S)
        return (time.process_time() - begin) / count * 1e6


async def flood(spool: LogSpool, data: bytes) -> float:
    """Lines a second of wall time while the view follows at its own ten ticks a second."""
    view = LogView(spool)
    async with Bare(view).run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        before, begin = spool.count, time.perf_counter()
        for offset in range(0, len(data), 32 * 1024):
            spool.feed(spool.size, data[offset : offset + 32 * 1024])
            view.log_grew()
            await asyncio.sleep(0)
        while view.virtual_size.height < spool.count:
            await asyncio.sleep(0.001)
        return (spool.count - before) / (time.perf_counter() - begin)


async def page(view: LogView) -> tuple[float, float]:
    """CPU milliseconds to draw a page that was not drawn before, and the same again."""
    cold = warm = math.inf
    async with Bare(view).run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        for jump in range(20):
            view.show_line(jump * 40_000)
            view._strips.clear()
            begin = time.process_time()
            for y in range(view.size.height):
                view.render_line(y)
            middle = time.process_time()
            for y in range(view.size.height):
                view.render_line(y)
            cold, warm = min(cold, middle - begin), min(warm, time.process_time() - middle)
    return cold * 1e3, warm * 1e3


async def stall(spool: LogSpool, pattern: str) -> tuple[float, float, int]:
    """Search in a thread: the loop's worst stall in ms beyond a 5 ms sleep, seconds, hits.

    An empty pattern searches nothing for a second: the stall that the machine's other work causes.
    """
    hits: list[int] = []
    worker = threading.Thread(
        target=lambda: (
            time.sleep(1)
            if not pattern
            else [hits.extend(found.lines) for found in find_lines(spool, compile_pattern(pattern))]
        )
    )
    worst, begin = 0.0, time.perf_counter()
    worker.start()
    while worker.is_alive():
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        worst = max(worst, time.perf_counter() - before - 0.005)
    return worst * 1e3, time.perf_counter() - begin, len(hits)


async def opened(path: Path) -> tuple[float, LogSpool]:
    """Wall seconds from opening the file to the painted tail."""
    view = LogView()
    async with Bare(view).run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        painted = asyncio.Event()
        begin = time.perf_counter()
        spool = LogSpool(path)
        view.show(spool)
        view.call_after_refresh(painted.set)
        await painted.wait()
        seconds = time.perf_counter() - begin
        last = view.size.height - 1
        assert view.render_line(last).text.startswith(f"{LINES - 1:09d}")
    return seconds, spool


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print("feeding, us a line painted in batches of 1,000")
        spool = LogSpool(Path(folder) / "fed")
        view = LogView(spool)

        def feed(lines: list[str]) -> None:
            spool.feed(spool.size, ("\n".join(lines) + "\n").encode())
            view._tick()

        ours = asyncio.run(feeding(view, feed, 5 * FEW))
        log = Log()
        theirs = asyncio.run(feeding(log, log.write_lines, 5 * FEW))
        rich = RichLog()
        slow = asyncio.run(feeding(rich, lambda lines: [rich.write(text) for text in lines] and None, FEW))
        print(f"  finetui {ours:.1f} ({1e6 / ours:,.0f} lines/s)  Log {theirs:.1f} ({theirs / ours:.1f}x)  "
              f"RichLog {slow:.1f} ({slow / ours:.0f}x)")  # fmt: skip

        flooded = LogSpool(Path(folder) / "flood")
        data = "".join(line(number) + "\n" for number in range(LINES)).encode()
        print(f"  flood, 32 KB frames: {asyncio.run(flood(flooded, data)):,.0f} lines/s wall")
        flooded.close()

        path = Path(folder) / "big"
        with path.open("w") as file:
            file.writelines(line(number) + "\n" for number in range(LINES))
        print(f"{LINES:,} lines, {path.stat().st_size / 1e6:.0f} MB")
        shown, big = asyncio.run(opened(path))
        print(f"  tail painted in {shown * 1e3:.0f} ms wall")
        fresh = LogSpool(path)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        fresh.index_head()
        held = tracemalloc.get_traced_memory()[0] - before
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        print(f"  index: {held / LINES:.1f} bytes a line held, {peak / LINES:.1f} at the peak")
        begin = time.process_time()
        again = LogSpool(path)
        again.index_head()
        print(f"  whole index: {(time.process_time() - begin) * 1e3:.0f} ms CPU")
        cold, warm = asyncio.run(page(LogView(again)))
        print(f"  page of 30 lines: {cold:.2f} ms cold, {warm:.2f} ms warm")
        for pattern in ("", "loss=0\\.12\\d+ x", "RANK1|step 99999\\d"):
            worst, seconds, hits = asyncio.run(stall(again, pattern))
            print(f"  search {pattern!r}: {seconds:.2f} s wall, {hits:,} hits, worst stall {worst:.1f} ms")
        for one in (spool, big, fresh, again):
            one.close()


if __name__ == "__main__":
    main()
