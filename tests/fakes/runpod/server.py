"""The HTTP server in front of the store: keys, faults, JSON, event streams."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.runpod import graphql, rest
from tests.fakes.runpod.store import Store
from tests.fakes.runpod.texts import HTML_502


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests that begin with ``request`` ("POST /v2/pods").

    ``kind``: 429, 502 and 500 answer so; html is a 200 that is no JSON; empty answers 200 without a body;
    hang never answers; reset cuts the connection; reset_after does what was asked and then cuts.
    """

    request: str
    kind: str
    times: int = 1
    retry_after: int | None = 7
    text: str = ""

    def hits(self, request: str) -> bool:
        """Say whether this goes wrong with ``request``."""
        return request.startswith(self.request)


@dataclass(frozen=True)
class Seen:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = field(repr=False, default=None)


class RunPodServer:
    """Serves ``store`` on a loopback port of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        #: Events after which a log stream breaks off.
        self.stream_limit: int | None = None
        self.closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.daemon_threads = True
        self._http.owner = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def requests(self, method: str, path: str) -> list[Seen]:
        """Return the requests of one kind so far."""
        return [seen for seen in self.seen if seen.method == method and seen.path == path]

    def fault_for(self, request: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.hits(request):
                fault.times -= 1
                return fault
        return None

    def __enter__(self) -> RunPodServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    @property
    def owner(self) -> RunPodServer:
        return self.server.owner  # type: ignore[attr-defined,no-any-return]

    def log_message(self, *_: object) -> None:
        return None

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        self.owner.seen.append(Seen(method, parts.path, query, dict(self.headers.items()), body))
        fault = self.owner.fault_for(f"{method} {parts.path}")
        if fault and fault.kind != "reset_after":
            self._fail(fault)
            return
        reply = self._answer(method, parts.path, query, body)
        if fault:
            self._reset()
        elif reply.events is not None:
            self._stream(reply)
        else:
            self._send(reply.status, reply.body)

    def _answer(self, method: str, path: str, query: dict[str, str], body: Any) -> rest.Reply:
        store = self.owner.store
        store.settle()
        key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        who = store.key_of(key)
        if who is None:
            return rest.problem(401, "missing bearer token" if not key else "invalid bearer token")
        if (method, path) == ("POST", "/graphql"):
            with store.lock:
                return rest.Reply(*graphql.execute(store, who, (body or {}).get("query", "")))
        last = self.headers.get("Last-Event-ID", "")
        if last:
            query["last_event"] = last.rpartition("/")[2].lstrip("0")
        return rest.handle(store, rest.Call(who, method, path, query, body))

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None, raw: str = "") -> None:
        data = raw.encode() if raw else b"" if body is None else json.dumps(body).encode()
        kind = "text/html" if raw else "application/problem+json" if status >= 400 else "application/json"
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        # One write for all: two would wait for each other's acknowledgement.
        self._headers_buffer.append(b"\r\n" + data)  # type: ignore[attr-defined]
        self.flush_headers()

    def _stream(self, reply: rest.Reply) -> None:
        assert reply.events is not None
        self.close_connection = True
        self.send_response_only(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        with contextlib.suppress(OSError):
            for event in reply.events:
                if self.owner.closing.is_set() or (not event and self._reader_left()):
                    return
                if event:
                    self.wfile.write(f"{len(event):x}\r\n{event}\r\n".encode())
                    sent += 1
                if sent == self.owner.stream_limit:
                    # Without the last chunk: a connection that broke, not a stream that ended.
                    return
            self.wfile.write(b"0\r\n\r\n")

    def _reader_left(self) -> bool:
        self.connection.setblocking(False)
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        finally:
            self.connection.settimeout(self.timeout)

    def _fail(self, fault: Fault) -> None:
        if fault.kind == "hang":
            self.owner.closing.wait(60)
            self.close_connection = True
        elif fault.kind == "reset":
            self._reset()
        elif fault.kind == "html":
            self._send(200, None, raw=HTML_502)
        elif fault.kind == "empty":
            self._send(200, None)
        elif fault.kind == "502":
            self._send(502, None, raw=HTML_502)
        elif fault.kind == "429":
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            self._send(429, rest.problem(429, "rate limit exceeded").body, headers)
        else:
            status = int(fault.kind)
            self._send(status, rest.problem(status, fault.text or "internal error").body)

    def _reset(self) -> None:
        """Close with a reset instead of a goodbye."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
