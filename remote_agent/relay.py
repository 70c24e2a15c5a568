"""Joins stdin and stdout to agentd's unix socket; starts agentd when nobody listens.

One relay a connection, dead with it. Standard library only and no asyncio: it starts in the round trip of a
connect.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import sys
import threading
import time

from remote_agent import program
from remote_agent.errors import AgentError, from_os_error
from remote_agent.places import Places
from remote_agent.protocol import FAILED, INVALID_PARAMS, PROTOCOL_VERSION, encode

#: A loaded pod takes 0.6 s to start the interpreter and import asyncio; a cold network volume far more.
START_LIMIT_S = 30.0
#: After the client hung up: time for replies that are on their way.
DRAIN_LIMIT_S = 10.0
CHUNK_BYTES = 64 * 1024
READY = b"ready\n"


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
    """Return a connection to agentd, started if it was not there; raises AgentError saying why not."""
    places.create()
    agent = _try_connect(places)
    if agent is not None:
        return agent
    lock = os.open(places.agentd_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        agent = _try_connect(places)
        if agent is None:
            places.socket.unlink(missing_ok=True)  # refused under the lock: nobody owns it any more
            _start_agentd(places)
            agent = _try_connect(places)
    finally:
        os.close(lock)
    if agent is None:
        raise AgentError(FAILED, "the agent started and went away", remedy=f"see {places.agentd_log}")
    return agent


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


def _start_agentd(places: Places) -> None:
    """Start agentd in a session of its own and wait until it listens; raises AgentError with its reason."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _become_agentd(places, write_end)
    os.close(write_end)
    os.waitpid(child, 0)
    try:
        said = _read_line(read_end)
    finally:
        os.close(read_end)
    if said != READY:
        reason = said.decode("utf-8", "replace").strip() or "it ended or gave no sign in time"
        raise AgentError(FAILED, f"the agent did not start: {reason}", remedy=f"see {places.agentd_log}")


def _become_agentd(places: Places, ready: int) -> None:
    """Double fork, so that agentd is nobody's child, then exec it; never returns."""
    try:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            log = os.open(places.agentd_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            for target, source in ((0, null), (1, log), (2, log)):
                os.dup2(source, target)
            os.set_inheritable(ready, True)
            os.chdir("/")
            argv = program.command("agentd", str(ready))
            os.execve(argv[0], argv, {**os.environ, **places.as_environment()})
    except OSError as error:
        os.write(ready, f"{error}\n".encode())
    finally:
        os._exit(1)


def _read_line(descriptor: int) -> bytes:
    """Read until newline, end of file or the limit."""
    deadline = time.monotonic() + START_LIMIT_S
    said = b""
    while not said.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            break
        data = os.read(descriptor, 4096)
        if not data:
            break
        said += data
    return said


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
