"""Takes the screenshots of the documentation: the real app, on a real run of the demo on this machine.

Usage: python docs/screenshots.py (a few minutes; writes docs/images/*.svg).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from presets import demo
from tui.app import FinetuiApp
from tui.config import Config
from tui.screens.backend import Backend

IMAGES = Path(__file__).parent / "images"
SIZE = (120, 36)
PATIENCE_S = 600.0


def launch(data: Path) -> str:
    """Launch the demo by the command line and return the run's id."""
    command = [
        str(Path(sys.executable).parent / "finetui"),
        "launch",
        "demo",
        "--data",
        str(data),
        "--on",
        "local",
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)["run"])


async def until(pilot: Pilot[None], good: Callable[[], bool]) -> None:
    """Let the app run until the condition holds; raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        while not good():
            await pilot.pause(0.2)


def save(app: FinetuiApp, name: str) -> None:
    """Write what the app shows now."""
    IMAGES.mkdir(exist_ok=True)
    picture = app.export_screenshot(title="finetui")
    # Fonts from elsewhere are not loaded in an image on a page; the reader's own monospace font is.
    picture = re.sub(r"@font-face\s*{.*?}", "", picture, flags=re.DOTALL)
    (IMAGES / f"{name}.svg").write_text(picture, encoding="utf-8")


async def take(run: str, data: Path, row: dict[str, str]) -> None:
    """Walk through the screens and save each."""
    app = FinetuiApp(Backend(Config(), "local"), Config(), run)
    async with app.run_test(size=SIZE) as pilot:
        board = app.context.board

        def step() -> int:
            return board.runs[run].status.step or 0 if run in board.runs else 0

        await until(pilot, lambda: step() > 0)
        await until(pilot, lambda: step() >= 0.7 * (board.runs[run].status.total or 1))
        await pilot.pause(1.0)
        save(app, "run")
        await until(pilot, lambda: board.runs[run].status.state == "finished")
        await pilot.press("escape")
        await pilot.pause(1.0)
        save(app, "runs")
        await pilot.press("n")
        await pilot.pause(1.0)
        for name in ("demo",):
            await pilot.press(*name)
        await pilot.pause(1.0)
        save(app, "launch")
        while len(app.screen_stack) > 2:
            await pilot.press("escape")
            await pilot.pause(0.3)
        await pilot.press("c")
        await pilot.pause(3.0)
        await pilot.press(*row["question"], "ctrl+j", *row["context"], "enter")
        await pilot.pause(25.0)
        save(app, "chat")


def main() -> None:
    """Train the demo in a place of its own and take the pictures."""
    with tempfile.TemporaryDirectory(prefix="finetui-") as folder:
        os.environ["FINETUI_HOME"] = f"{folder}/home"
        os.environ["FINETUI_STATE_DIR"] = f"{folder}/state"
        os.environ.setdefault(
            "FINETUI_ENVIRONMENTS_DIR", str(Path.home() / ".local/state/finetui/environments")
        )
        data = Path(folder) / "demo.jsonl"
        demo.write_dataset(data)
        row = json.loads(data.read_text().splitlines()[4])
        asyncio.run(take(launch(data), data, row))


if __name__ == "__main__":
    main()
