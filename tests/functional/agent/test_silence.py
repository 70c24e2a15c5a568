"""A client that says nothing for two minutes is let go; the clock is the test's."""

from __future__ import annotations

import asyncio
import socket

import pytest

from remote_agent.agentd import Server, listen
from remote_agent.connection import SILENCE_LIMIT_S, Connection
from remote_agent.places import Places
from remote_agent.protocol import encode

PING = encode({"jsonrpc": "2.0", "id": 1, "method": "ping"})


class TurnedLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers follow a clock that the test turns."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    async def turn(self, seconds: float) -> None:
        """Let time pass, and everything that is due then happen."""
        self.now += seconds
        for _ in range(20):
            await asyncio.sleep(0)


async def silent_client(places: Places, loop: TurnedLoop) -> tuple[asyncio.Task[None], socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    server = Server(places, listen(places))
    connection = Connection(server.agent, reader, writer, clock=loop.time)
    return asyncio.ensure_future(connection.serve()), ours


@pytest.mark.parametrize("said_at", [None, 100.0])
def test_two_minutes_without_a_byte_end_a_connection(places: Places, said_at: float | None) -> None:
    places.create()
    loop = TurnedLoop()

    async def scene() -> None:
        serving, client = await silent_client(places, loop)
        if said_at is not None:
            await loop.turn(said_at)
            client.send(PING)
            while True:  # until the answer is here, the ping has been heard
                await asyncio.sleep(0)
                try:
                    assert client.recv(1000)
                    break
                except BlockingIOError:
                    continue
        await loop.turn(SILENCE_LIMIT_S - 1)
        assert not serving.done()
        await loop.turn(1)
        assert serving.done()
        assert client.recv(1000) == b""
        client.close()

    try:
        loop.run_until_complete(scene())
    finally:
        loop.close()
