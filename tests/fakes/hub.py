"""A Hugging Face Hub that takes repositories and commits, over HTTP on a loopback port."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hub:
    """What was sent: repositories as they were asked for, files as they were committed, tokens."""

    url: str = ""
    repositories: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    #: Model cards, which the Hub looks at before it takes a commit.
    cards: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)


class FakeHub:
    """Serves a ``Hub`` while the context lasts."""

    def __init__(self) -> None:
        self.hub = Hub()
        hub = self.hub

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                hub.tokens.add(self.headers.get("Authorization", ""))
                if self.path == "/api/repos/create":
                    asked = json.loads(body)
                    hub.repositories.append(asked)
                    name = (
                        f"{asked['organization']}/{asked['name']}"
                        if asked.get("organization")
                        else asked["name"]
                    )
                    self.reply({"url": f"{hub.url}/{name}", "name": name})
                elif self.path == "/api/validate-yaml":
                    hub.cards.append(json.loads(body)["content"])
                    self.reply({"errors": [], "warnings": []})
                elif self.path.endswith("/preupload/main"):
                    asked = json.loads(body)["files"]
                    self.reply(
                        {
                            "files": [
                                {"path": item["path"], "uploadMode": "regular", "shouldIgnore": False}
                                for item in asked
                            ]
                        }
                    )
                elif "/commit/main" in self.path:
                    for line in body.splitlines():
                        entry = json.loads(line)
                        if entry["key"] == "file":
                            content = base64.b64decode(entry["value"]["content"])
                            hub.files[entry["value"]["path"]] = content
                    name = self.path.split("/api/models/")[1].split("/commit/")[0]
                    self.reply(
                        {"commitUrl": f"{hub.url}/{name}/commit/abc", "commitOid": "abc", "success": True}
                    )
                else:
                    self.reply({"error": f"no such address: {self.path}"}, 404)

            def do_GET(self) -> None:
                self.reply({"error": f"no such address: {self.path}"}, 404)

            def reply(self, document: dict[str, Any], status: int = 200) -> None:
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        hub.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Hub:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self.hub

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
