"""The app in a real terminal with the real agent and the real trainer, used as a person would."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from presets import demo

pytestmark = [pytest.mark.trainer, pytest.mark.slow, pytest.mark.timeout(1500)]

KEPT = ("FINETUI_HOME", "FINETUI_STATE_DIR", "FINETUI_ENVIRONMENTS_DIR", "PATH", "HOME")


class Terminal:
    """A tmux session of its own server; reads the screen and presses keys."""

    def __init__(self, tmux: str, folder: Path) -> None:
        self._tmux = tmux
        self._folder = folder
        self._starts = 0
        self._command: list[str] = []

    def start(self, width: int, height: int) -> None:
        """Run finetui in a window of this size."""
        # A socket for each start: a server that was killed may hold its own for a moment longer.
        self._starts += 1
        self._command = [self._tmux, "-S", str(self._folder / f"tmux-{self._starts}.sock")]
        kept = [f"{name}={shlex.quote(os.environ[name])}" for name in KEPT if name in os.environ]
        # COLUMNS and LINES of the test's own terminal would overrule the window's size.
        environment = " ".join(["env -u COLUMNS -u LINES", *kept])
        finetui = shlex.quote(str(Path(sys.executable).parent / "finetui"))
        shell = f"cd {shlex.quote(str(self._folder))}; {environment} {finetui}; echo left with $?; exec cat"
        self._run("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), shell)

    def press(self, *keys: str) -> None:
        """Press keys as tmux names them."""
        for key in keys:
            self._run("send-keys", key)

    def type(self, text: str) -> None:
        """Type text, character for character."""
        self._run("send-keys", "-l", text)

    def screen(self) -> str:
        """Return the characters on the screen."""
        return self._run("capture-pane", "-p")

    def sees(self, *words: str, deadline_s: float = 60) -> str:
        """Wait until all words are on the screen and return it."""
        end = time.monotonic() + deadline_s
        while True:
            text = self.screen()
            if all(word in text for word in words):
                return text
            assert time.monotonic() < end, f"{words} not within {deadline_s} s; the screen shows:\n{text}"
            time.sleep(0.2)

    def close(self) -> None:
        """End the session."""
        subprocess.run([*self._command, "kill-server"], check=False, capture_output=True)

    def _run(self, *arguments: str) -> str:
        return subprocess.run([*self._command, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def terminal(
    tmux: str,
    tmp_path: Path,
    trainer_python: Path,
    environments_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Terminal]:
    monkeypatch.setenv("FINETUI_ENVIRONMENTS_DIR", str(environments_dir))
    made = Terminal(tmux, tmp_path)
    yield made
    made.close()


def test_the_demo_from_home_to_chat_and_back_after_quitting(terminal: Terminal) -> None:
    question = next(demo.rows())
    terminal.start(120, 40)
    terminal.sees("No runs yet", "● local")
    terminal.press("t")
    terminal.sees("demo", "1 loss", deadline_s=90)
    terminal.sees("training", "ETA", "s/step", "CPU", deadline_s=300)

    terminal.press("q")
    terminal.sees("1 run going on without finetui", "left with 0")
    terminal.close()
    terminal.start(120, 40)
    terminal.sees("1 run", "demo")
    terminal.press("Enter")
    terminal.sees("✓ finished", "step 270/270", "step 135", "loss 0.0", deadline_s=600)

    terminal.press("c")
    terminal.sees("@270", deadline_s=60)
    terminal.type(question["question"])
    terminal.press("C-j")
    terminal.type(question["context"])
    terminal.sees(question["question"])
    terminal.press("Enter")
    terminal.sees(question["answer"], "tok/s", deadline_s=180)
    terminal.press("Escape")
    terminal.sees("Checkpoints")
    terminal.press("q")
    terminal.sees("left with 0")
