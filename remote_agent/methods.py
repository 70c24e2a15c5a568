"""The table of methods: which parameters each takes, who answers it, and where that runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import remote_agent
from remote_agent import (
    blobs,
    checkpoints,
    files,
    guard_control,
    health,
    lifecycle,
    results,
    retention,
    status,
    subscriptions,
)
from remote_agent.builds import Build
from remote_agent.documents import read_json
from remote_agent.errors import AgentError
from remote_agent.hashes import Hashes
from remote_agent.identity import Proc
from remote_agent.places import Places
from remote_agent.protocol import (
    INVALID_PARAMS,
    MAX_PAYLOAD_BYTES,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    PROTOCOL_VERSION,
    REFUSED,
    Frame,
    Hello,
    to_wire,
)
from remote_agent.runs import existing_run
from remote_agent.sampler import SampleFeed
from remote_agent.watch import RunsWatch

if TYPE_CHECKING:
    from remote_agent.connection import Connection

CAPABILITIES = ("handover", "guard", "file.hash", "notify")
#: Default of a parameter that has none.
REQUIRED = object()


@dataclass(frozen=True)
class Upload:
    """A blob on its way: its pieces are stored one after the other."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    running: blobs.RunningHash = field(default_factory=blobs.RunningHash)


@dataclass(frozen=True)
class Agent:
    """What every connection shares."""

    places: Places
    build: str
    watch: RunsWatch
    samples: SampleFeed
    #: Makes room for another build; given the connection that asks, and whether it must be the only one.
    hand_over: Callable[[Connection, bool], bool]
    #: For reads of files that are followed.
    threads: Executor
    hashes: Hashes
    uploads: dict[str, Upload] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A reply: its ``result`` member and payload."""

    value: Any
    payload: bytes = b""


@dataclass(frozen=True)
class Call:
    """One request: who asked, with checked parameters."""

    connection: Connection
    params: dict[str, Any]
    payload: bytes

    @property
    def agent(self) -> Agent:
        """What every connection shares."""
        return self.connection.agent

    @property
    def places(self) -> Places:
        """The agent's directories."""
        return self.agent.places


@dataclass(frozen=True)
class Method:
    """A handler with its parameters: name -> (type, default or REQUIRED).

    Exactly one of ``quick`` (answers at once, on the event loop), ``slow`` (touches the disk or waits: in a
    thread) and ``task`` (a coroutine) is there.
    """

    params: Mapping[str, tuple[type, Any]]
    quick: Callable[[Call], Result] | None = None
    slow: Callable[[Call], Result] | None = None
    task: Callable[[Call], Awaitable[Result]] | None = None


async def call(connection: Connection, frame: Frame) -> Result:
    """Answer one request; raises AgentError when it is refused."""
    name = frame.header.get("method")
    method = METHODS.get(name) if isinstance(name, str) else None
    if method is None:
        raise AgentError(METHOD_NOT_FOUND, f"this agent has no method {str(name)[:80]!r}")
    params = _check(method.params, frame.header.get("params", {}))
    request = Call(connection, params, frame.payload)
    if method.quick is not None:
        return method.quick(request)
    if method.slow is not None:
        return await asyncio.to_thread(method.slow, request)
    if method.task is not None:
        return await method.task(request)
    raise AgentError(METHOD_NOT_FOUND, f"the method {name} has no handler")


def _check(wanted: Mapping[str, tuple[type, Any]], given: object) -> dict[str, Any]:
    """Return the parameters with defaults filled in; unknown ones are a newer client's and ignored."""
    if not isinstance(given, dict):
        raise AgentError(INVALID_PARAMS, "params: not an object")
    checked = {}
    for name, (kind, default) in wanted.items():
        value = given.get(name, default)
        if value is REQUIRED:
            raise AgentError(INVALID_PARAMS, f"{name}: missing")
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind and not (value is None and default is None):
            raise AgentError(INVALID_PARAMS, f"{name}: {type(value).__name__}, expected {kind.__name__}")
        checked[name] = value
    return checked


def _hello(request: Call) -> Result:
    proto = request.params["proto"]
    if len(proto) != 2 or any(type(number) is not int for number in proto):
        raise AgentError(INVALID_PARAMS, "proto: not [min, max]")
    if not proto[0] <= PROTOCOL_VERSION <= proto[1]:
        raise AgentError(
            REFUSED,
            f"this agent speaks protocol {PROTOCOL_VERSION}, the client {proto[0]} to {proto[1]}",
            remedy="upgrade finetui on the laptop",
        )
    hello = Hello(
        agent=remote_agent.VERSION,
        build=request.agent.build,
        proto=PROTOCOL_VERSION,
        boot=Proc().boot(),
        state_dir=str(request.places.state),
        now=time.time(),
        caps=CAPABILITIES,
    )
    return Result(to_wire(hello))


def _ping(request: Call) -> Result:
    return Result({})


def _health(request: Call) -> Result:
    found = health.findings(request.places, volume_bytes=request.params["volume_bytes"])
    return Result({"findings": [finding.to_json() for finding in found]})


def _launch(request: Call) -> Result:
    params = request.params
    for name in ("files", "secrets"):
        if not all(isinstance(value, str) for value in params[name].values()):
            raise AgentError(INVALID_PARAMS, f"{name}: not all of its values are text")
    found = lifecycle.launch(
        request.places, params["run"], params["spec"], params["spec_sha"], params["files"], params["secrets"]
    )
    return Result(to_wire(found))


def _list(request: Call) -> Result:
    return Result([to_wire(found) for found in status.worth_listing(status.all_runs(request.places))])


def _get(request: Call) -> Result:
    return Result(to_wire(status.status(request.places, request.params["run"])))


def _stop(request: Call) -> Result:
    return Result(
        to_wire(lifecycle.stop(request.places, request.params["run"], force=request.params["force"]))
    )


def _resume(request: Call) -> Result:
    params = request.params
    return Result(to_wire(lifecycle.resume(request.places, params["run"], params["step"], params["secrets"])))


def _delete(request: Call) -> Result:
    return Result({"freed_bytes": lifecycle.delete(request.places, request.params["run"])})


def _spec(request: Call) -> Result:
    spec = read_json(existing_run(request.places, request.params["run"]).spec)
    if spec is None:
        raise AgentError(NOT_FOUND, "the run's spec can't be read")
    return Result(spec)


def _drop_optimizers(request: Call) -> Result:
    freed = retention.drop_optimizers(request.places, request.params["run"], _steps(request))
    return Result({"freed_bytes": freed})


def _delete_checkpoints(request: Call) -> Result:
    freed = retention.delete_checkpoints(request.places, request.params["run"], _steps(request))
    return Result({"freed_bytes": freed})


def _steps(request: Call) -> list[int]:
    steps = request.params["steps"]
    if not steps or any(type(step) is not int for step in steps):
        raise AgentError(INVALID_PARAMS, "steps: not a list of numbers")
    return list(steps)


def _checkpoints(request: Call) -> Result:
    found = checkpoints.list_checkpoints(request.places, request.params["run"])
    return Result([to_wire(checkpoint) for checkpoint in found])


def _blob_have(request: Call) -> Result:
    names = request.params["sha256"]
    if not all(isinstance(name, str) for name in names):
        raise AgentError(INVALID_PARAMS, "sha256: not a list of text")
    return Result({name: blobs.have(request.places, name) for name in names})


async def _blob_put(request: Call) -> Result:
    """Store the pieces of one blob in the order in which they came."""
    sha256 = request.params["sha256"]
    uploads = request.agent.uploads
    upload = uploads.setdefault(sha256, Upload())
    async with upload.lock:
        held = await asyncio.to_thread(
            blobs.put,
            request.places,
            sha256,
            request.params["o"],
            request.params["size"],
            request.payload,
            upload.running,
        )
        if held == request.params["size"]:
            uploads.pop(sha256, None)  # whole: whoever still waits finds it so
    return Result({"held": held})


def _file_list(request: Call) -> Result:
    found = files.list_directory(request.places, request.params["path"], after=request.params["after"])
    return Result([to_wire(entry) for entry in found])


def _file_read(request: Call) -> Result:
    params = request.params
    size, data = files.read(request.places, params["path"], params["o"], params["max"])
    return Result({"size": size}, data)


async def _sub_open(request: Call) -> Result:
    return Result({"sub": await subscriptions.open_stream(request.connection, request.params)})


def _file_hash(request: Call) -> Result:
    sha256, size = request.agent.hashes.of(request.places, request.params["path"])
    return Result({"sha256": sha256, "size": size})


def _guard_get(request: Call) -> Result:
    return Result(guard_control.view(request.places))


def _guard_set(request: Call) -> Result:
    return Result(guard_control.arm(request.places, request.params["guard"]))


def _guard_extend(request: Call) -> Result:
    return Result(guard_control.extend(request.places, request.params["seconds"]))


def _guard_results_safe(request: Call) -> Result:
    held = request.params["files"]
    if not all(isinstance(sha256, str) for sha256 in held.values()):
        raise AgentError(INVALID_PARAMS, "files: not all of its values are text")
    found = results.acknowledge(request.places, request.params["run"], held, request.agent.hashes)
    return Result({"safe": found.safe, "missing": list(found.missing), "differs": list(found.differs)})


def _sub_ack(request: Call) -> Result:
    stream = request.connection.streams.get(request.params["sub"])
    if stream is not None:
        stream.ack(request.params["o"])
        request.connection.wake()
    return Result({})


def _sub_close(request: Call) -> Result:
    stream = request.connection.streams.pop(request.params["sub"], None)
    if stream is not None:
        stream.close()
    return Result({})


def _handover(request: Call) -> Result:
    """Make room for another build, if it is one that should take over."""
    wanted = Build.named(request.params["build"], request.params["version"])
    running = Build(request.agent.build, remote_agent.VERSION)
    if not wanted.supersedes(running):
        return Result({"leaving": False})
    # Two clients of one version but of different builds would otherwise replace each other's agent for ever.
    alone_only = not wanted.is_newer_than(running)
    return Result({"leaving": request.agent.hand_over(request.connection, alone_only)})


_RUN = {"run": (str, REQUIRED)}

METHODS: dict[str, Method] = {
    "hello": Method({"client": (str, ""), "proto": (list, REQUIRED)}, quick=_hello),
    "ping": Method({}, quick=_ping),
    "health": Method({"volume_bytes": (int, None)}, slow=_health),
    "run.launch": Method(
        {
            **_RUN,
            "spec": (dict, REQUIRED),
            "spec_sha": (str, REQUIRED),
            "files": (dict, REQUIRED),
            "secrets": (dict, {}),
        },
        slow=_launch,
    ),
    "run.list": Method({}, slow=_list),
    "run.get": Method(_RUN, slow=_get),
    "run.stop": Method({**_RUN, "force": (bool, False)}, slow=_stop),
    "run.resume": Method({**_RUN, "step": (int, None), "secrets": (dict, {})}, slow=_resume),
    "run.delete": Method(_RUN, slow=_delete),
    "run.spec": Method(_RUN, slow=_spec),
    "ckpt.list": Method(_RUN, slow=_checkpoints),
    "ckpt.delete": Method({**_RUN, "steps": (list, REQUIRED)}, slow=_delete_checkpoints),
    "ckpt.drop_optimizers": Method({**_RUN, "steps": (list, REQUIRED)}, slow=_drop_optimizers),
    "blob.have": Method({"sha256": (list, REQUIRED)}, slow=_blob_have),
    "blob.put": Method({"sha256": (str, REQUIRED), "o": (int, 0), "size": (int, REQUIRED)}, task=_blob_put),
    "file.list": Method({"path": (str, ""), "after": (str, "")}, slow=_file_list),
    "file.read": Method(
        {"path": (str, REQUIRED), "o": (int, 0), "max": (int, MAX_PAYLOAD_BYTES)}, slow=_file_read
    ),
    "file.hash": Method({"path": (str, REQUIRED)}, slow=_file_hash),
    "guard.get": Method({}, slow=_guard_get),
    "guard.set": Method({"guard": (dict, REQUIRED)}, slow=_guard_set),
    "guard.extend": Method({"seconds": (float, REQUIRED)}, slow=_guard_extend),
    "guard.results_safe": Method({**_RUN, "files": (dict, REQUIRED)}, slow=_guard_results_safe),
    "sub.open": Method(
        {
            "kind": (str, REQUIRED),
            "run": (str, None),
            "o": (int, 0),
            "gen": (str, ""),
            "every_s": (float, 1.0),
            "credit": (int, 0),
        },
        task=_sub_open,
    ),
    "sub.ack": Method({"sub": (int, REQUIRED), "o": (int, REQUIRED)}, quick=_sub_ack),
    "sub.close": Method({"sub": (int, REQUIRED)}, quick=_sub_close),
    "agent.handover": Method({"build": (str, REQUIRED), "version": (str, "")}, quick=_handover),
}
