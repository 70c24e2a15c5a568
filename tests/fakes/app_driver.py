"""The real app on a scripted agent, with a clock that a test moves and the hands of a user."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from textual.pilot import Pilot

from tests.fakes.agent import ScriptedAgent
from tui.app import FinetuiApp
from tui.config import Config
from tui.screens.backend import Backend

RUN = "01J9ZZZZZZ0000000000000AAA"
OTHER = "01J9ZZZZZZ0000000000000BBB"


class FakeClock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Driver:
    """What a scenario has in its hands."""

    def __init__(self, app: FinetuiApp, agent: ScriptedAgent, pilot: Pilot[None], clock: FakeClock) -> None:
        self.app = app
        self.agent = agent
        self.pilot = pilot
        self.clock = clock

    async def press(self, *keys: str) -> None:
        """Press keys one after another."""
        await self.pilot.press(*keys)

    async def until(self, holds: Callable[[], object], deadline_s: float = 15.0) -> None:
        """Wait for something to hold; fails with what is on the screen."""
        end = time.monotonic() + deadline_s
        while not holds():
            assert time.monotonic() < end, f"not within {deadline_s} s; the screen shows:\n{self.text()}"
            await self.pilot.pause()
            await asyncio.sleep(0.01)

    async def sees(self, *words: str) -> None:
        """Wait until all of these words are on the screen."""
        await self.until(lambda: all(word in self.text() for word in words))

    async def sees_no(self, word: str) -> None:
        """Wait until this word is on the screen no more."""
        await self.until(lambda: word not in self.text())

    async def on(self, name: str) -> None:
        """Wait until the screen of this class is on top."""
        await self.until(lambda: type(self.app.screen).__name__ == name)

    def text(self) -> str:
        """Return the characters on the screen."""
        screen = self.app.screen
        strips = screen._compositor.render_strips(screen.size)
        return "\n".join(strip.text.rstrip() for strip in strips)


def drive(
    agent: ScriptedAgent,
    scenario: Callable[[Driver], Awaitable[None]],
    *,
    size: tuple[int, int] = (120, 40),
    config: Config | None = None,
    open_run: str | None = None,
) -> FinetuiApp:
    """Run the app, play the scenario, leave; return the app for what it says afterwards."""
    config = config or Config()
    clock = FakeClock()
    app = FinetuiApp(Backend(config, connect=agent.connect, clock=clock), config, open_run, clock)

    async def play() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await scenario(Driver(app, agent, pilot, clock))

    asyncio.run(play())
    return app
