"""Speaks the agent's protocol over a link: calls that block, streams that call back."""

from __future__ import annotations

import itertools
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from remote_agent.protocol import (
    CREDIT_BYTES,
    PROTOCOL_VERSION,
    Frame,
    FrameReader,
    Hello,
    ProtocolError,
    encode,
    from_wire,
)
from tui.errors import FinetuiError, RemoteError, Unreachable
from tui.remote.credit import Credit
from tui.remote.heartbeat import Heartbeat
from tui.remote.link import Link
from tui.remote.machine import Machine
from tui.remote.replies import Pending, Reply, read_reply, refusal
from tui.remote.streams import (
    NOTIFICATIONS,
    OnEvent,
    StreamData,
    StreamEvent,
    StreamReset,
    parse_notification,
)

REQUEST_TIMEOUT_S = 30.0
_TICK_S = 1.0
_READ_BYTES = 256 * 1024
_CLIENT = "finetui"
_QUICK = frozenset({"hello", "ping", "sub.open"})
#: Stream frames kept for a sub.open that is not answered yet: the credit of several files.
_MAX_EARLY = 64


@dataclass
class _Call:
    done: threading.Event = field(default_factory=threading.Event)
    frame: Frame | None = None
    sent: float = field(default_factory=time.monotonic)
    #: Answered without work: its time is the round trip.
    quick: bool = False
    #: For sub.open: run in the reader thread, so that no stream frame can come before it.
    on_result: Callable[[Any], None] | None = None


@dataclass
class _Stream:
    on_event: OnEvent
    expected: int
    credit: Credit


class Subscription:
    """An open stream; ``close`` ends it."""

    def __init__(self, client: AgentClient, sub: int | str) -> None:
        self._client = client
        self.sub = sub

    def close(self) -> None:
        """Stop the stream; nothing is delivered after this returns, save an event already on its way."""
        self._client.unsubscribe(self.sub)


class AgentClient:
    """One connection to an agent.

    Calls block their thread; stream events arrive in the reader thread, and a stream's bytes are acknowledged
    once its callback has returned, so a slow consumer slows the agent down and does not fill the memory here.
    """

    def __init__(
        self,
        link: Link,
        *,
        target: str = "local",
        machine: Machine | None = None,
        heartbeat: Heartbeat | None = None,
        first_bytes: bytes = b"",
    ) -> None:
        self.target = target
        self._link = link
        self._machine = machine
        self._heartbeat = heartbeat or Heartbeat()
        self._on_close: list[Callable[[str], None]] = []
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._calls: dict[int, _Call] = {}
        self._streams: dict[int | str, _Stream] = {}
        self._early: list[tuple[int | str, StreamEvent]] = []
        #: The shortest one seen; calls that need no work on the other side measure it.
        self._round_trip_s = math.inf
        self._closed_because = ""
        self._remedy = ""
        self._is_closed = False
        self._hello: Hello | None = None
        self._first_bytes = first_bytes
        self._reader = threading.Thread(target=self._read, name=f"finetui-read-{target}", daemon=True)
        self._writer = threading.Thread(target=self._write, name=f"finetui-write-{target}", daemon=True)
        self._reader.start()
        self._writer.start()

    @property
    def hello(self) -> Hello:
        """What the agent said of itself; ``greet`` must have returned."""
        assert self._hello is not None, "greet() first"
        return self._hello

    @property
    def closed(self) -> bool:
        """True once the connection ended, for whatever reason."""
        return self._is_closed

    @property
    def reason(self) -> str:
        """Why the connection ended; empty while it lives."""
        return self._closed_because

    def forward(self, port: int) -> int:
        """Return a port of this laptop's loopback that leads to ``port`` of the target's."""
        return self._machine.forward(port) if self._machine is not None else port

    def notify_on_close(self, on_close: Callable[[str], None]) -> None:
        """Call ``on_close(reason)`` once when the connection ends, at once if it already has."""
        with self._lock:
            ended = self._is_closed
            if not ended:
                self._on_close.append(on_close)
        if ended:
            on_close(self._closed_because)

    def greet(self, timeout_s: float = REQUEST_TIMEOUT_S) -> Hello:
        """Agree on a protocol version; raises Unreachable or RemoteError."""
        result = self.request(
            "hello", {"client": _CLIENT, "proto": [PROTOCOL_VERSION, PROTOCOL_VERSION]}, timeout_s=timeout_s
        )
        try:
            hello = from_wire(Hello, result)
        except ProtocolError as error:
            self._shut_down(f"the agent's hello is malformed: {error}")
            raise self._unreachable() from error
        if hello.proto != PROTOCOL_VERSION:
            self._shut_down(f"the agent speaks protocol {hello.proto}, this finetui {PROTOCOL_VERSION}")
            raise self._unreachable()
        self._hello = hello
        return hello

    def request(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        payload: bytes = b"",
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Any:
        """Return the result of one call; raises RemoteError (it was refused) or Unreachable."""
        return self.call(method, params, payload, timeout_s).result

    def call(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        payload: bytes = b"",
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Reply:
        """Like ``request``, with the payload of the reply."""
        return self.begin(method, params, payload).reply(timeout_s)

    def begin(self, method: str, params: dict[str, Any] | None = None, payload: bytes = b"") -> Pending:
        """Send a call and return at once; several may be on their way. Raises Unreachable."""
        return self._begin(method, params, payload, None)

    def subscribe(
        self,
        kind: str,
        on_event: OnEvent,
        *,
        run: str = "",
        offset: int = 0,
        generation: str = "",
        every_s: float = 1.0,
    ) -> Subscription:
        """Open a stream of kind log, metrics, runs or samples; the first two from byte ``offset`` on.

        ``on_event`` runs in the reader thread and must not call back into this client's blocking methods.
        """
        opened: list[int | str] = []

        def register(result: Any) -> None:
            sub = result.get("sub") if isinstance(result, dict) else result
            if not isinstance(sub, int | str):
                raise ProtocolError(f"sub.open: no subscription id in {result!r}")
            self._streams[sub] = _Stream(on_event, offset, Credit(offset, lambda: self._round_trip_s))
            opened.append(sub)

        params: dict[str, Any] = {"kind": kind, "every_s": every_s, "credit": CREDIT_BYTES}
        if run:
            params |= {"run": run, "o": offset, "gen": generation}
        self._begin("sub.open", params, b"", register).reply(REQUEST_TIMEOUT_S)
        return Subscription(self, opened[0])

    def unsubscribe(self, sub: int | str) -> None:
        """Forget a stream and tell the agent, without waiting for its answer."""
        if self._streams.pop(sub, None) is not None and not self._is_closed:
            self._send(
                {"jsonrpc": "2.0", "id": next(self._ids), "method": "sub.close", "params": {"sub": sub}}
            )

    def close(self) -> None:
        """End the connection; pending calls raise Unreachable. May be called more than once."""
        self._shut_down("closed")
        for thread in (self._reader, self._writer):
            if thread is not threading.current_thread():
                thread.join(5.0)

    def __enter__(self) -> AgentClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(
        self,
        method: str,
        params: dict[str, Any] | None,
        payload: bytes,
        on_result: Callable[[Any], None] | None,
    ) -> Pending:
        call = _Call(quick=method in _QUICK, on_result=on_result)
        number = next(self._ids)
        with self._lock:
            if self._is_closed:
                raise self._unreachable()
            self._calls[number] = call
        try:
            self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}, payload)
        except RemoteError:
            self._forget(number)
            raise
        return Pending(lambda timeout_s: self._finish(method, number, call, timeout_s))

    def _forget(self, number: int) -> None:
        with self._lock:
            self._calls.pop(number, None)

    def _finish(self, method: str, number: int, call: _Call, timeout_s: float) -> Reply:
        try:
            answered = call.done.wait(timeout_s)
        finally:
            self._forget(number)
        if call.frame is not None:
            return read_reply(method, call.frame)
        if answered or self._is_closed:
            raise self._unreachable()
        raise Unreachable(
            f"{self.target} did not answer {method} within {timeout_s:g} s",
            remedy="try again: repeating the command is safe",
        )

    def _send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        try:
            self._outgoing.put(encode(header, payload))
        except ValueError as error:
            raise RemoteError(f"{header.get('method')} is too large to send", cause=str(error)) from error

    def _unreachable(self) -> Unreachable:
        words = self._link.last_words()
        return Unreachable(
            f"the connection to {self.target} ended",
            cause="; ".join(part for part in (self._closed_because, words) if part),
            remedy=self._remedy or f"see what is wrong with: finetui doctor {self.target}",
        )

    def _write(self) -> None:
        reason = "the writer stopped"
        try:
            while not self._is_closed:
                try:
                    data = self._outgoing.get(timeout=_TICK_S)
                except queue.Empty:
                    data = b""
                if data is None:
                    return
                if data:
                    self._link.write(data)
                if self._beat() == "dead":
                    reason = "no answer for 15 s"
                    return
        except OSError as error:
            reason = f"can't send: {error}"
        finally:
            self._shut_down(reason)

    def _beat(self) -> str:
        verdict = self._heartbeat.tick()
        if verdict == "ping":
            self._send({"jsonrpc": "2.0", "id": next(self._ids), "method": "ping", "params": {}})
        return verdict

    def _read(self) -> None:
        reason = "the reader stopped"
        frames = FrameReader()
        data = self._first_bytes
        try:
            while not self._is_closed:
                for frame in frames.feed(data):
                    self._handle(frame)
                data = self._link.read(_READ_BYTES)
                if not data:
                    reason = "the other side hung up"
                    return
                self._heartbeat.heard()
        except ProtocolError as error:
            reason = f"protocol error: {error}"
        except RemoteError as error:
            self._remedy = error.remedy
            reason = error.message
        except (OSError, FinetuiError) as error:
            reason = str(error)
        finally:
            self._shut_down(reason)

    def _handle(self, frame: Frame) -> None:
        method = frame.header.get("method")
        if method is None:
            self._handle_reply(frame)
        elif not isinstance(method, str):
            raise ProtocolError(f"method {method!r} is not a name")
        elif method in NOTIFICATIONS:
            sub, event = parse_notification(frame)
            if sub in self._streams:
                self._deliver(sub, self._streams[sub], event)
            else:
                self._keep_early(sub, event)

    def _keep_early(self, sub: int | str, event: StreamEvent) -> None:
        """Keep what may belong to a sub.open that is not answered yet; drop what came after a close."""
        with self._lock:
            opening = any(call.on_result is not None for call in self._calls.values())
        if opening:
            self._early.append((sub, event))
            if len(self._early) > _MAX_EARLY:
                raise ProtocolError("streams that nobody opened")

    def _deliver_early(self) -> None:
        early, self._early = self._early, []
        for sub, event in early:
            if sub in self._streams:
                self._deliver(sub, self._streams[sub], event)
            else:
                self._keep_early(sub, event)

    def _handle_reply(self, frame: Frame) -> None:
        number = frame.header.get("id")
        if number is None and "error" in frame.header:
            raise refusal("the connection", frame)
        if type(number) is not int:
            raise ProtocolError(f"reply with id {number!r}")
        with self._lock:
            call = self._calls.pop(number, None)
        if call is None:
            return
        if call.on_result is not None and "error" not in frame.header:
            call.on_result(frame.header.get("result"))
        call.frame = frame
        if call.quick:
            self._round_trip_s = min(self._round_trip_s, time.monotonic() - call.sent)
        call.done.set()
        self._deliver_early()

    def _deliver(self, sub: int | str, stream: _Stream, event: StreamEvent) -> None:
        if isinstance(event, StreamData):
            if event.offset != stream.expected:
                raise ProtocolError(f"stream {sub} jumped from byte {stream.expected} to {event.offset}")
            stream.expected += len(event.data)
        elif isinstance(event, StreamReset):
            stream.expected = 0
        self._heartbeat.busy = True
        try:
            stream.on_event(event)
        finally:
            self._heartbeat.heard()
            self._heartbeat.busy = False
        if isinstance(event, StreamData) and sub in self._streams:
            self._acknowledge(sub, stream)

    def _acknowledge(self, sub: int | str, stream: _Stream) -> None:
        if stream.credit.consumed(stream.expected):
            params = {"sub": sub, "o": stream.expected, "credit": stream.credit.bytes}
            self._send({"jsonrpc": "2.0", "method": "sub.ack", "params": params})

    def _shut_down(self, reason: str) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._closed_because = reason
            calls = list(self._calls.values())
            self._calls.clear()
        for call in calls:
            call.done.set()
        self._outgoing.put(None)
        self._link.close()
        if self._machine is not None:
            self._machine.close()
        for on_close in self._on_close:
            on_close(reason)
