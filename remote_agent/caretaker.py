"""What agentd does unasked: adopt runs whose supervisor died, keep the guard alive, tidy up at its start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from remote_agent import attendance, cleanup, guard_control, lifecycle
from remote_agent.places import Places

#: Also without anybody watching.
LOOK_EVERY_S = 5.0
#: A watch that sees an orphan asks for a look; looks are never closer together than this.
PAUSE_S = 0.5
#: A run that could not be adopted (no process can be started, say) is left alone for a while.
RETRY_S = 60.0


class Caretaker:
    """Looks now and then, and at once when nudged; touches the disk in threads only.

    ``connected`` says whether a client is.
    """

    def __init__(
        self,
        places: Places,
        connected: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = places
        self._connected = connected
        self._clock = clock
        self._nudged = asyncio.Event()
        self._refused: dict[str, float] = {}

    def nudge(self) -> None:
        """Ask for a look soon."""
        self._nudged.set()

    async def run(self) -> None:
        """Look until cancelled."""
        with suppress(OSError):
            await asyncio.to_thread(cleanup.tidy, self._places)
        while True:
            await self._look()
            await asyncio.sleep(PAUSE_S)
            try:
                await asyncio.wait_for(self._nudged.wait(), LOOK_EVERY_S)
            except asyncio.TimeoutError:
                continue
            finally:
                self._nudged.clear()

    async def _look(self) -> None:
        await asyncio.to_thread(self._keep_guard, self._connected())
        now = self._clock()
        self._refused = {run: until for run, until in self._refused.items() if until > now}
        try:
            failed = await asyncio.to_thread(
                lifecycle.recover, self._places, leave_out=frozenset(self._refused)
            )
        except OSError:
            return  # a volume that is away for a moment
        self._refused |= dict.fromkeys(failed, now + RETRY_S)

    def _keep_guard(self, connected: bool) -> None:
        with suppress(OSError):
            attendance.note(self._places, connected=connected)
            guard_control.ensure(self._places)
