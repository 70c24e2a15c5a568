"""RunPod as a pod sees it: its own two REST v2 calls, and what it was asked, in order."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

POD = "abc123def456gh"
KEY = "rpa_pod_scoped_secret"


class PodApi:
    """A server on loopback; ``answers`` are taken one a request (status), 200 when there is none."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.agents: list[str] = []
        self.answers: list[int] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                api.agents.append(self.headers.get("User-Agent", ""))
                status = api.answers.pop(0) if api.answers else 200
                if self.headers.get("Authorization") != f"Bearer {KEY}":
                    status = 401
                if status == 200 or self.command == "POST":
                    action = json.loads(body)["action"] if body else ""
                    api.asked.append((self.command, self.path, action))
                self.send_response(status)
                self.end_headers()
                text = {"id": POD} if status == 200 else {"title": "no", "detail": f"refused: {KEY}"}
                self.wfile.write(json.dumps(text).encode())

            do_GET = do_POST = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.environ = folder / "pid-1-environ"
        self.environ.write_bytes(f"PATH=/bin\0RUNPOD_POD_ID={POD}\0RUNPOD_API_KEY={KEY}\0".encode())

    @property
    def actions(self) -> list[str]:
        return [action for method, _, action in self.asked if method == "POST"]

    def variables(self) -> dict[str, str]:
        return {"FINETUI_RUNPOD_API": self.url, "FINETUI_POD_ENVIRON": str(self.environ)}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
