"""An OpenAI-compatible model server on loopback whose replies a test scripts, piece by piece."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ModelServer:
    """Streams ``pieces``; with ``gate`` cleared it waits before each piece after the first."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.pieces = ["[SQL] ", "SELECT 1", " [/SQL]"]
        self.gate = threading.Event()
        self.gate.set()
        #: The bodies of all requests.
        self.asked: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer._reply(self)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="model-server", daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def _reply(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if str(request.headers.get("Authorization")).removeprefix("Bearer ") not in self.keys:
            request.send_error(401)
            return
        self.asked.append(json.loads(body))
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.end_headers()
        try:
            for number, piece in enumerate(self.pieces):
                if number:
                    self.gate.wait(20)
                self._event(request, {"choices": [{"delta": {"content": piece}}]})
            self._event(request, {"choices": [], "usage": {"completion_tokens": len(self.pieces)}})
            request.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            return

    def _event(self, request: BaseHTTPRequestHandler, document: dict[str, Any]) -> None:
        request.wfile.write(f"data: {json.dumps(document)}\n\n".encode())
        request.wfile.flush()
