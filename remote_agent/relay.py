"""Joins stdin and stdout to agentd's unix socket; starts agentd when nobody listens, or when it is outdated.

One relay a connection, dead with it. Standard library only and no asyncio: it starts in the round trip of a
connect.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import threading
import time
from typing import Any

from remote_agent import builds, failpoints, program
from remote_agent.agent_start import start_agentd
from remote_agent.builds import Build
from remote_agent.errors import AgentError, from_os_error
from remote_agent.places import Places
from remote_agent.protocol import (
    FAILED,
    INVALID_PARAMS,
    PROTOCOL_VERSION,
    FrameReader,
    ProtocolError,
    encode,
)

#: An agent that is frozen or swapped out is given this long to say who it is.
ANSWER_LIMIT_S = 10.0
#: After it agreed to leave, an agent finishes what it was asked.
LEAVE_LIMIT_S = 12.0
#: A new build that is not ready by then makes room for the old one again.
TAKE_OVER_LIMIT_S = 10.0
#: After the client hung up: time for replies that are on their way.
DRAIN_LIMIT_S = 10.0
CHUNK_BYTES = 64 * 1024


def main(arguments: list[str]) -> int:
    """Serve one connection; the marker is printed before anything else of ours."""
    if len(arguments) != 1:
        sys.stderr.write("usage: relay MARKER\n")
        return 2
    os.write(1, f"{arguments[0]} {PROTOCOL_VERSION}\n".encode("ascii", "replace"))
    try:
        agent = connect(Places.from_environment(os.environ))
    except AgentError as error:
        return _refuse(error)
    except OSError as error:
        return _refuse(from_os_error(error, f"reach or start the agent ({error.filename or 'no file'})"))
    _pump(agent)
    return 0


def _refuse(error: AgentError) -> int:
    os.write(1, encode({"jsonrpc": "2.0", "id": None, "error": error.to_wire()}))
    return 1


def connect(places: Places) -> socket.socket:
    """Return a connection to agentd, started or replaced if need be; raises AgentError saying why not."""
    places.create()
    agent = _try_connect(places)
    if agent is not None:
        running = _who(agent)
        if running is not None and not _may_take_over(places, running):
            return agent
        agent.close()
    lock = os.open(places.agentd_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _connect_alone(places)
    finally:
        os.close(lock)


def _connect_alone(places: Places) -> socket.socket:
    """Do it under the lock: nobody else starts or replaces the agent meanwhile."""
    agent = _try_connect(places)
    running = _who(agent) if agent is not None else None
    if agent is not None and running is not None:
        if not _may_take_over(places, running):
            return agent
        own = Build.own()
        answer = _ask(agent, "agent.handover", {"build": own.name, "version": own.version}) or {}
        if answer.get("leaving") is not True:
            return agent
        _hang_up(agent)
    if agent is not None:
        _wait_until_gone(agent)
    failpoints.reached("handover-after-leave")
    places.socket.unlink(missing_ok=True)  # refused under the lock: nobody owns it any more
    _start(places, running)
    agent = _try_connect(places)
    if agent is None:
        raise AgentError(FAILED, "the agent started and went away", remedy=f"see {places.agentd_log}")
    return agent


def _start(places: Places, replaced: Build | None) -> None:
    """Start our own build; when it can't take over, start the one again that made room for it."""
    if replaced is None:
        start_agentd(places, program.launcher())
        return
    try:
        start_agentd(places, program.launcher(), limit_s=TAKE_OVER_LIMIT_S)
    except AgentError as error:
        old = builds.command(places, replaced.name)
        if old is None:
            raise
        builds.note_failure(places, Build.own(), error.message)
        places.socket.unlink(missing_ok=True)
        start_agentd(places, old)


def _may_take_over(places: Places, running: Build) -> bool:
    own = Build.own()
    return own.supersedes(running) and not builds.failed_lately(places, own)


def _who(agent: socket.socket) -> Build | None:
    """Return the build of the agent at the other end, None when it is just leaving."""
    said = _ask(agent, "hello", {"client": "relay", "proto": [0, 1_000_000]})
    if said is None:
        return None
    name, version = said.get("build"), said.get("agent")
    return Build(name if isinstance(name, str) else "", version if isinstance(version, str) else "")


def _ask(agent: socket.socket, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """Return the result of one request, {} for an error, None when the agent hung up.

    Raises AgentError when it does not answer.
    """
    frames = FrameReader()
    agent.settimeout(ANSWER_LIMIT_S)
    try:
        agent.sendall(encode({"jsonrpc": "2.0", "id": 0, "method": method, "params": params}))
        while data := agent.recv(CHUNK_BYTES):
            for frame in frames.feed(data):
                result = frame.header.get("result")
                return result if isinstance(result, dict) else {}
    except TimeoutError as error:
        raise _silent(agent) from error
    except (ConnectionError, ProtocolError):
        return None
    finally:
        agent.settimeout(None)
    return None


def _silent(agent: socket.socket) -> AgentError:
    pid, _, _ = struct.unpack("3i", agent.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return AgentError(
        FAILED,
        f"the agent (pid {pid}) does not answer; its runs go on",
        remedy=f"end it on the machine, then connect again: kill -9 {pid}",
    )


def _hang_up(agent: socket.socket) -> None:
    """Send nothing more, so that an agent which waits for its clients to leave does not wait for us."""
    try:
        agent.shutdown(socket.SHUT_WR)
    except OSError:
        return  # it has gone already


def _wait_until_gone(agent: socket.socket) -> None:
    """Wait for the agent to hang up; one that does not in time has at least given up its socket."""
    agent.settimeout(LEAVE_LIMIT_S)
    try:
        while agent.recv(CHUNK_BYTES):
            pass
    except (TimeoutError, ConnectionError):
        pass
    agent.close()


def _try_connect(places: Places) -> socket.socket | None:
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        agent.connect(str(places.socket))
    except (FileNotFoundError, ConnectionRefusedError):
        agent.close()
        return None
    except OSError as error:
        agent.close()
        if "too long" in str(error):
            raise AgentError(
                INVALID_PARAMS,
                f"the path of the agent's socket is too long: {places.socket}",
                remedy="set FINETUI_RUNTIME_DIR to a short path",
            ) from error
        raise AgentError(
            FAILED, f"the agent's socket {places.socket} can't be reached: {error.strerror}"
        ) from error
    return agent


def _pump(agent: socket.socket) -> None:
    """Copy both ways until the agent hangs up, or the client did and the replies on their way are out."""
    threading.Thread(target=_upstream, args=(agent,), daemon=True).start()
    try:
        while data := agent.recv(CHUNK_BYTES):
            _write_all(1, data)
    except OSError:
        pass  # the other side of stdout or of the socket is gone: nobody to tell


def _upstream(agent: socket.socket) -> None:
    try:
        while data := os.read(0, CHUNK_BYTES):
            agent.sendall(data)
        agent.shutdown(socket.SHUT_WR)
    except OSError:
        os._exit(0)
    time.sleep(DRAIN_LIMIT_S)
    os._exit(0)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
