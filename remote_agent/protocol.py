"""Wire types, framing and limits shared by the laptop and the agent.

The only module that both sides import. Standard library only, Python 3.10 and later.

A frame is one ASCII JSON header line, then ``n`` raw bytes where the header has a key ``n``.
Control frames are JSON-RPC 2.0 objects; log, metrics and file payloads are raw bytes. A ``params`` or
``result`` too long for a header line travels as the payload, named by the key ``json``; `encode` and
`FrameReader` do that unseen, so neither side ever meets it. A frame without ``id`` and ``method`` but with
``error`` is the relay saying why there is no agent to talk to.

Methods (params -> result). Every mutating one is idempotent: a lost reply means "send again".

=================  ===========================================  =========================================
``hello``          client, proto [min, max]                     agent, build, proto, boot, state_dir, caps,
                                                                  now
``ping``           -                                            {}
``health``         volume_bytes=null: the volume as bought      findings: [{name, level, text, remedy}]
``run.launch``     run, spec, spec_sha, files {path: sha256},   RunStatus
                   secrets {name: value}
``run.list``       -                                            [RunStatus]; of ended runs the newest 2000
``run.get``        run                                          RunStatus
``run.stop``       run, force=false                             RunStatus
``run.resume``     run, step=null, secrets                      RunStatus
``run.delete``     run                                          freed_bytes
``run.spec``       run                                          the spec as launched
``ckpt.list``      run                                          [Checkpoint]
``ckpt.delete``    run, steps [..]                              freed_bytes
``ckpt.drop_optimizers`` run, steps [..]                        freed_bytes
``blob.have``      sha256 [..]                                  {sha256: bytes held, -1 when whole}
``blob.put``       sha256, o, size + payload                    held (bytes; equals size when verified)
``file.list``      path, after=""                               [FileEntry] by name, as many as fit: go on
                                                                  after the last until none comes;
                                                                  "" is the state directory
``file.read``      path, o, max                                 size + payload
``file.hash``      path                                         sha256, size; may take long
``guard.get``      -                                            {armed, alive, config, spent_usd, plan, seen,
                                                                  blocked, notices}
``guard.set``      guard {..}: see docs/ARCHITECTURE.md; one    like guard.get, and checked: "" when the
                   that watches nothing disarms                   provider lets the pod act on itself
``guard.extend``   seconds                                      like guard.get: nothing is done before then
``guard.results_safe`` run, files {path: sha256}                {safe, missing, differs}: paths below the run
``sub.open``       kind, run, o, gen="", every_s, credit        sub; kinds: log, metrics, runs, samples
``sub.ack``        sub, o, credit=null                          notification: bytes up to ``o`` were consumed,
                                                                ``credit`` more may be on their way now
``sub.close``      sub                                          {}
``agent.handover`` build, version                               {leaving}: true when it makes room for a
                                                                  newer build; the connection then ends
=================  ===========================================  =========================================

Streams arrive as notifications: ``data`` {sub, o, gen} + payload for kinds log and metrics (``o`` is the
byte offset of the payload's first byte, ``gen`` the generation of the file), ``reset`` {sub, gen} when the
file was replaced and its offsets start again at 0, ``eof`` {sub, size} when the run has ended and all bytes
were sent (the subscription is closed then; after a resume, open another), ``runs`` {sub, runs: [every
RunStatus], guard: null or {armed, alive, plan, blocked, notices}} at every change of any of it, and
``sample`` {sub, sample: Sample}, newest only.

``gen`` is opaque. Give the last one seen back to ``sub.open`` with its offset: the agent checks that the file
is still that one and sends ``reset`` when it is not. Only ``reset`` means "start again at 0".
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

PROTOCOL_VERSION = 1
MAX_HEADER_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 256 * 1024
#: A ``params`` or ``result`` that travels as a payload: some 5000 runs, or 40000 files of one directory.
MAX_JSON_BYTES = 4 * 1024 * 1024
#: Payload of one stream frame; small enough that a reply never waits long behind it.
STREAM_FRAME_BYTES = 32 * 1024
#: Bytes a subscription may have in flight: 116 ms ping instead of 1159 ms on a busy 2 MB/s link.
CREDIT_BYTES = 256 * 1024
#: Shell noise (banners, .bashrc output) accepted before the marker line.
MAX_NOISE_BYTES = 64 * 1024

STATES = ("preparing", "starting", "running", "stopping", "finished", "stopped", "failed", "lost")
ENDED = frozenset({"finished", "stopped", "failed", "lost"})

# JSON-RPC error codes; the ones above -32000 are JSON-RPC's own.
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
NOT_FOUND = -32001
CONFLICT = -32002
REFUSED = -32003
FAILED = -32004
NO_SPACE = -32005


class ProtocolError(Exception):
    """The byte stream is not ours any more; the connection must be closed, never resynchronised."""


@dataclass(frozen=True)
class Frame:
    """One header with its payload."""

    header: dict[str, Any]
    payload: bytes = b""


@dataclass(frozen=True)
class RunStatus:
    """What is known of a run; times are seconds since the epoch, for display only."""

    run: str
    state: str
    kind: str = "train"
    preset: str = ""
    model: str = ""
    #: environment, model, loading, tokenising, training, evaluating, saving, serving, done
    phase: str = ""
    detail: str = ""
    phase_done: float | None = None
    phase_total: float | None = None
    phase_started: float | None = None
    step: int | None = None
    total: int | None = None
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    lr: float | None = None
    grad_norm: float | None = None
    tokens_per_s: float | None = None
    s_per_step: float | None = None
    eta_s: float | None = None
    peak_vram_bytes: int | None = None
    created: float | None = None
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    message: str = ""
    #: For a server: the checkpoint it serves (RUN@STEP or RUN@base) and its loopback port.
    parent: str = ""
    port: int | None = None
    #: True when the job lives but its supervisor does not.
    unsupervised: bool = False
    pid: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A folder that training wrote; ``missing`` says what keeps it from being complete."""

    id: str
    step: int
    bytes: int
    complete: bool
    path: str
    modified: float
    resumable: bool = False
    missing: str = ""
    loss: float | None = None
    eval_loss: float | None = None


@dataclass(frozen=True)
class FileEntry:
    """One entry of a directory listing; ``kind`` is file, dir or link."""

    name: str
    kind: str
    bytes: int
    modified: float


@dataclass(frozen=True)
class GpuSample:
    """One GPU at one moment; None where the driver does not say."""

    index: int
    name: str
    util_percent: float | None = None
    vram_used_bytes: int | None = None
    vram_total_bytes: int | None = None
    temp_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None


@dataclass(frozen=True)
class Sample:
    """The machine at one moment; ``missing`` names what can't be shown and why."""

    at: float
    cpu_percent: float | None = None
    cores: int | None = None
    ram_used_bytes: int | None = None
    ram_total_bytes: int | None = None
    disk_used_bytes: int | None = None
    disk_total_bytes: int | None = None
    gpus: tuple[GpuSample, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hello:
    """What the agent says of itself at the start of a connection."""

    agent: str
    build: str
    proto: int
    boot: str
    state_dir: str
    now: float
    caps: tuple[str, ...] = field(default=())


def encode(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """Return the bytes of one frame.

    Raises ValueError when the header or the payload is over its limit, or holds NaN or infinity.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"frame payload of {len(payload)} bytes is over {MAX_PAYLOAD_BYTES}")
    if payload:
        header = {**header, "n": len(payload)}
    line = _dumps(header) + b"\n"
    if len(line) <= MAX_HEADER_BYTES:
        return line + payload
    body_key = next((key for key in ("result", "params") if key in header), None)
    if payload or body_key is None:
        raise ValueError(f"frame header of {len(line)} bytes is over {MAX_HEADER_BYTES}")
    body = _dumps(header[body_key])
    if len(body) > MAX_JSON_BYTES:
        raise ValueError(f"{body_key} of {len(body)} bytes is over {MAX_JSON_BYTES}")
    rest = {key: value for key, value in header.items() if key != body_key}
    return _dumps({**rest, "json": body_key, "n": len(body)}) + b"\n" + body


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


class FrameReader:
    """Cuts a byte stream into frames, however it was chunked; knows nothing of sockets."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: dict[str, Any] | None = None
        self._payload_bytes = 0
        self._scanned = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that ``data`` completes; raises ProtocolError on a malformed one."""
        self._buffer += data
        while True:
            frame = self._next()
            if frame is None:
                return
            yield frame

    def _next(self) -> Frame | None:
        if self._header is None:
            end = self._buffer.find(b"\n", self._scanned)
            if end < 0:
                self._scanned = len(self._buffer)
                if self._scanned >= MAX_HEADER_BYTES:
                    raise ProtocolError(f"frame header over {MAX_HEADER_BYTES} bytes")
                return None
            if end >= MAX_HEADER_BYTES:
                raise ProtocolError(f"frame header over {MAX_HEADER_BYTES} bytes")
            header = _parse_header(bytes(self._buffer[:end]))
            self._payload_bytes = _payload_length(header)
            self._header = header
            del self._buffer[: end + 1]
            self._scanned = 0
        if len(self._buffer) < self._payload_bytes:
            return None
        with memoryview(self._buffer) as view:
            payload = bytes(view[: self._payload_bytes])
        del self._buffer[: self._payload_bytes]
        header, self._header = self._header, None
        if "json" not in header:
            return Frame(header, payload)
        body = _parse_json(payload)
        rest = {key: value for key, value in header.items() if key not in ("json", "n")}
        return Frame({**rest, header["json"]: body})


def _parse_header(line: bytes) -> dict[str, Any]:
    header = _parse_json(line)
    if not isinstance(header, dict):
        raise ProtocolError("frame header is not a JSON object")
    if header.get("json", "result") not in ("result", "params"):
        raise ProtocolError("frame body is neither a result nor params")
    return header


def _parse_json(data: bytes) -> Any:
    try:
        return json.loads(data.decode("ascii"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not ASCII JSON: {data[:80]!r}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _payload_length(header: dict[str, Any]) -> int:
    length = header.get("n", 0)
    limit = MAX_JSON_BYTES if "json" in header else MAX_PAYLOAD_BYTES
    if type(length) is not int or not 0 <= length <= limit:
        raise ProtocolError(f"frame payload length {length!r} is not in 0..{limit}")
    return length


T = TypeVar("T")


def to_wire(value: Any) -> dict[str, Any]:
    """Return a wire dataclass as JSON-ready values."""
    return asdict(value)


def from_wire(cls: type[T], data: object) -> T:
    """Build a wire dataclass from JSON, ignoring unknown keys.

    Raises ProtocolError when a required key is absent or a value has the wrong type: the other side may be
    hostile or from another version.
    """
    if not isinstance(data, dict):
        raise ProtocolError(f"{cls.__name__} is not a JSON object")
    hints = typing.get_type_hints(cls)
    values = {}
    for item in fields(cls):  # type: ignore[arg-type]
        if item.name in data:
            values[item.name] = _checked(hints[item.name], data[item.name], f"{cls.__name__}.{item.name}")
    try:
        return cls(**values)
    except TypeError as error:
        raise ProtocolError(f"{cls.__name__} is incomplete: {error}") from error


def _checked(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
        return _checked(hint, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ProtocolError(f"{where} is not a list")
        item_hint = typing.get_args(hint)[0]
        return tuple(_checked(item_hint, item, where) for item in value)
    if is_dataclass(hint):
        return from_wire(typing.cast("type[Any]", hint), value)
    if hint is float and type(value) in (int, float):
        return _finite(value, where)
    if type(value) is not hint:
        raise ProtocolError(f"{where} is {type(value).__name__}, expected {hint.__name__}")
    return value


def _finite(value: int | float, where: str) -> float:
    try:
        number = float(value)
    except OverflowError as error:
        raise ProtocolError(f"{where} is too large") from error
    if not math.isfinite(number):
        raise ProtocolError(f"{where} is not finite")
    return number
