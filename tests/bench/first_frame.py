"""First frame of the app against a bare Textual app's: process start to the first painted frame.

Both run in the same pseudo-terminal of 120x30, in turns, so that a busy machine slows both alike.
"""

from __future__ import annotations

import os
import pty
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 9
BARE = """
from textual.app import App
from textual.widgets import Footer, Header, Static
class Bare(App):
    BINDINGS = [("q", "quit", "Quit")]
    def compose(self):
        yield Header()
        yield Static("hello first frame")
        yield Footer()
Bare().run()
"""
OURS = "from tui.app import run; run()"


def seconds_to(text: bytes, code: str, home: str) -> float:
    """Run ``code`` in a terminal until ``text`` is painted; return the seconds it took."""
    terminal = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    environment = {**os.environ, **terminal, "FINETUI_HOME": home, "FINETUI_STATE_DIR": home}
    ours, theirs = pty.openpty()
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while text not in seen:
        seen += os.read(ours, 65536)
    took = time.perf_counter() - start
    process.kill()
    process.wait()
    os.close(ours)
    return took


def main() -> None:
    """Print both medians and their ratio."""
    with tempfile.TemporaryDirectory() as home:
        bare, ours = [], []
        for _ in range(ROUNDS):
            bare.append(seconds_to(b"hello first frame", BARE, home))
            ours.append(seconds_to(b"No runs yet", OURS, home))
    print(f"bare Textual app  {statistics.median(bare) * 1000:6.0f} ms to its first frame")
    print(f"finetui           {statistics.median(ours) * 1000:6.0f} ms to its first frame")
    print(f"ratio             {statistics.median(ours) / statistics.median(bare):6.2f} (target: under 1.3)")


if __name__ == "__main__":
    main()
