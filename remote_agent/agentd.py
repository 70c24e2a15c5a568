"""The agent: one per state directory and user, disposable, owner of no job.

It answers from what lies on disk, so kill -9 at any moment loses nothing, and it leaves by itself when nobody
is connected and nothing runs.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from remote_agent import failpoints, guard_config, program, status
from remote_agent.agent_start import READY
from remote_agent.caretaker import Caretaker
from remote_agent.connection import Connection, is_own_peer
from remote_agent.errors import AgentError
from remote_agent.hashes import Hashes
from remote_agent.methods import Agent
from remote_agent.places import Places
from remote_agent.protocol import ENDED
from remote_agent.runs import take_lock
from remote_agent.sampler import SampleFeed
from remote_agent.watch import RunsWatch

#: Without a connection and without a live run.
IDLE_LIMIT_S = 600.0
#: A client that does not take its replies does not hold up a successor.
LEAVE_LIMIT_S = 5.0
#: Reads of followed files; more than one volume's worth of hung reads leaves the others going.
FILE_THREADS = 16
#: Between looks at whether a relay can still find us.
REACH_EVERY_S = 10.0
LOG_LIMIT_BYTES = 5 * 1024 * 1024


def main(arguments: list[str]) -> int:
    """Serve until idle; ``arguments`` may name a descriptor that is told "ready" or why not."""
    ready = int(arguments[0]) if arguments and arguments[0].isdecimal() else -1
    places = Places.from_environment(os.environ)
    failpoints.reached("agentd-before-bind")
    try:
        places.create()
        listener = listen(places)
    except (AgentError, OSError) as error:
        _tell(ready, f"{error}\n".encode())
        sys.stderr.write(f"agentd: {error}\n")
        return 1
    _trim_log(places)
    asyncio.run(_serve(places, listener, ready, _idle_limit_s(os.environ)))
    return 0


async def _serve(places: Places, listener: socket.socket, ready: int, idle_limit_s: float) -> None:
    await Server(places, listener, idle_limit_s=idle_limit_s).run(ready)
    # A thread that a hung volume holds must not keep us: a successor waits.
    os._exit(0)


def listen(places: Places) -> socket.socket:
    """Bind the socket with mode 0600; raises OSError when it is taken."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(places.socket))
    finally:
        os.umask(mask)
    listener.listen(128)
    return listener


def _idle_limit_s(environment: Mapping[str, str]) -> float:
    """Seconds without a client or a live run after which the agent leaves; tests want fewer."""
    try:
        return float(environment["FINETUI_AGENT_IDLE_S"])
    except (KeyError, ValueError):
        return IDLE_LIMIT_S


def _tell(ready: int, said: bytes) -> None:
    if ready >= 0:
        with suppress(BrokenPipeError):  # the relay that started us is gone; the next one finds us
            os.write(ready, said)
        os.close(ready)


def _trim_log(places: Places) -> None:
    """Keep one old log; our own 1 and 2 go on in the renamed file until the next start."""
    try:
        if places.agentd_log.stat().st_size > LOG_LIMIT_BYTES:
            places.agentd_log.rename(places.agentd_log.with_suffix(".log.1"))
    except FileNotFoundError:
        pass


class Server:
    """Accepts connections on a listening unix socket."""

    def __init__(
        self,
        places: Places,
        listener: socket.socket,
        *,
        idle_limit_s: float = IDLE_LIMIT_S,
        reach_every_s: float = REACH_EVERY_S,
    ) -> None:
        self._places = places
        self._listener = listener
        self._inode = places.socket.stat().st_ino
        self._idle_limit_s = idle_limit_s
        self._reach_every_s = reach_every_s
        self._connections: set[Connection] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._done = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._caretaker = Caretaker(places, lambda: bool(self._connections))
        self.agent = Agent(
            places=places,
            build=program.build(),
            watch=RunsWatch(places, on_orphan=self._caretaker.nudge),
            samples=SampleFeed(places),
            hand_over=self.hand_over,
            threads=ThreadPoolExecutor(FILE_THREADS, "files"),
            hashes=Hashes(),
        )

    async def run(self, ready: int = -1) -> None:
        """Serve until it is time to leave."""
        self._server = server = await asyncio.start_unix_server(self._accept, sock=self._listener)
        failpoints.reached("agentd-before-ready")
        _tell(ready, READY)
        self._arm_idle_timer()
        self._background(self._caretaker.run())
        self._background(self._leave_when_unreachable())
        try:
            await self._done.wait()
        finally:
            self._unlink()
            server.close()
            for connection in list(self._connections):
                connection.hang_up()
            for task in list(self._handlers):
                task.cancel()

    def leave(self) -> None:
        """Take no new client; end when the connections have ended."""
        self._leaving = True
        self._unlink()
        # A client that connected before the unlink may still wait to be accepted: one turn of the loop.
        asyncio.get_running_loop().call_later(0.1, self._end_if_unused)

    def hand_over(self, asker: Connection, alone_only: bool) -> bool:
        """Make room for another build: close all connections when what was asked is answered, then end.

        With ``alone_only``, not while somebody else is connected; returns whether we leave.
        """
        if alone_only and self._connections != {asker}:
            return False
        failpoints.reached("handover-before-leave")
        self._leaving = True
        self._unlink()
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.finish()
        asyncio.get_running_loop().call_later(LEAVE_LIMIT_S, self._done.set)
        return True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not is_own_peer(writer):
            writer.close()
            return
        connection = Connection(self.agent, reader, writer)
        self._connections.add(connection)
        self._disarm_idle_timer()
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
            if not self._connections:
                self._end_if_unused() if self._leaving else self._arm_idle_timer()

    def _end_if_unused(self) -> None:
        if self._leaving and not self._connections:
            self._done.set()

    def _arm_idle_timer(self) -> None:
        self._disarm_idle_timer()
        loop = asyncio.get_running_loop()
        self._idle_timer = loop.call_later(self._idle_limit_s, self._idle)

    def _disarm_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _idle(self) -> None:
        self._background(self._leave_if_idle())

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work``; what it raises goes to agentd.log."""
        task = asyncio.get_running_loop().create_task(work)
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _leave_if_idle(self) -> None:
        busy = await asyncio.to_thread(self._is_needed)
        try:
            lock = None if busy or self._connections else take_lock(self._places.agentd_lock)
        except FileNotFoundError:
            self.leave()  # the runtime directory is gone: no relay finds us any more
            return
        if lock is None:
            # Something runs, or a relay is about to connect.
            if not self._connections:
                self._arm_idle_timer()
            return
        try:
            self.leave()
        finally:
            os.close(lock)

    async def _leave_when_unreachable(self) -> None:
        """Leave when somebody cleaned up /tmp: relays start another agent then, and nobody meets this one.

        Not while there are runs to adopt or a guard to keep alive; two agents that do so don't collide.
        """
        while self._socket_is_ours() or self._connections or await asyncio.to_thread(self._is_needed):
            await asyncio.sleep(self._reach_every_s)
        self.leave()

    def _socket_is_ours(self) -> bool:
        try:
            return self._places.socket.stat().st_ino == self._inode
        except OSError:
            return False

    def _is_needed(self) -> bool:
        if guard_config.load(self._places) is not None:
            return True
        return any(run.state not in ENDED for run in status.all_runs(self._places))

    def _unlink(self) -> None:
        """Remove the socket if it is still ours: a successor may have bound the same path."""
        if self._socket_is_ours():
            self._places.socket.unlink(missing_ok=True)
