"""A scripted agent: the real protocol over a socket pair, on a machine where a test decides what happens."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from remote_agent.protocol import (
    NOT_FOUND,
    Checkpoint,
    FileEntry,
    Frame,
    FrameReader,
    RunStatus,
    Sample,
    encode,
    to_wire,
)
from tests.fakes.model_server import ModelServer
from tui.errors import Unreachable
from tui.remote.agent_client import AgentClient

STREAM_BYTES = 32 * 1024


class SocketLink:
    """One end of a socket pair as the client's link."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def read(self, max_bytes: int) -> bytes:
        return self._end.recv(max_bytes)

    def write(self, data: bytes) -> None:
        self._end.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()

    def last_words(self) -> str:
        return ""


@dataclass
class ScriptedRun:
    """A run with what it wrote so far."""

    status: RunStatus
    log: bytes = b""
    metrics: bytes = b""
    checkpoints: list[Checkpoint] = field(default_factory=list)
    spec: dict[str, Any] = field(default_factory=dict)


class ScriptedAgent:
    """Its methods change the machine and tell every connected client at once."""

    def __init__(self, target: str = "local", wall: float = 1_790_000_000.0) -> None:
        self.target = target
        self.wall = wall
        self.runs: dict[str, ScriptedRun] = {}
        self.files: dict[str, bytes] = {}
        self.refuse: str | None = None
        self.model: ModelServer | None = None
        #: Every request as (method, params), for asserts.
        self.requests: list[tuple[str, dict[str, Any]]] = []
        #: A test may answer a method in its own way.
        self.answers: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self._connections: list[_Connection] = []
        self._lock = threading.RLock()

    # The laptop's side.

    def connect(self, target: str) -> AgentClient:
        """Stand in for ``targets.connect``; raises Unreachable while the agent is away."""
        if self.refuse is not None or target != self.target:
            raise Unreachable(f"{target} can't be reached", cause=self.refuse or "unknown machine")
        ours, theirs = socket.socketpair()
        with self._lock:
            connection = _Connection(self, theirs)
            self._connections.append(connection)
        connection.start()
        client = AgentClient(SocketLink(ours), target=target)
        client.greet()
        return client

    # The script.

    def drop(self, reason: str = "network is unreachable") -> None:
        """Cut every connection and refuse new ones."""
        self.refuse = reason
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.hang_up()

    def restore(self) -> None:
        """Answer again."""
        self.refuse = None

    def close(self) -> None:
        """End everything."""
        self.drop()
        if self.model is not None:
            self.model.close()

    def add(self, run: str, state: str = "running", **fields: Any) -> ScriptedRun:
        """Add a run; ``fields`` are those of RunStatus."""
        values = {"preset": "demo", "model": "finetui/tiny-llama", "created": self.wall, **fields}
        with self._lock:
            self.runs[run] = ScriptedRun(RunStatus(run, state, **values))
        self._tell_runs()
        return self.runs[run]

    def update(self, run: str, **fields: Any) -> None:
        """Change a run's status."""
        with self._lock:
            self.runs[run].status = replace(self.runs[run].status, **fields)
        self._tell_runs()

    def log(self, run: str, data: bytes) -> None:
        """Append to a run's log."""
        with self._lock:
            self.runs[run].log += data
            self._push("log", run)

    def record(self, run: str, *records: dict[str, Any]) -> None:
        """Append records to a run's metrics."""
        with self._lock:
            self.runs[run].metrics += b"".join(json.dumps(record).encode() + b"\n" for record in records)
            self._push("metrics", run)

    def train(self, run: str, first: int, last: int, total: int = 160, every: int = 1) -> None:
        """Log steps first..last with a falling loss, and move the status along."""
        records = [
            {
                "event": "log", "t": self.wall + step, "step": step, "total": total, "epoch": step / 32,
                "loss": round(5.0 * 0.96**step + 0.01, 5), "lr": 1e-3 * (1 - step / total),
                "grad_norm": 1.0 + step % 7, "tokens": step * 1024, "tokens_per_s": 2600.0, "s_per_step": 0.4,
                "eta_s": (total - step) * 0.4,
            }
            for step in range(first, last + 1, every)
        ]  # fmt: skip
        self.record(run, *records)
        newest = records[-1]
        shown = ("step", "total", "epoch", "loss", "lr", "grad_norm", "tokens_per_s", "s_per_step", "eta_s")
        self.update(run, **{key: newest[key] for key in shown})

    def checkpoint(self, run: str, step: int, size: int = 14_000_000, **fields: Any) -> None:
        """Save a checkpoint and log it."""
        item = Checkpoint(
            f"{run}@{step}", step, size, fields.pop("complete", True), f"runs/{run}/output/checkpoint-{step}",
            self.wall, resumable=True, **fields,
        )  # fmt: skip
        with self._lock:
            self.runs[run].checkpoints.append(item)
        self.record(
            run, {"event": "save", "t": self.wall, "step": step, "path": f"checkpoint-{step}", "seconds": 1.0}
        )

    def sample(self, sample: Sample) -> None:
        """Take a sample of the machine."""
        with self._lock:
            for connection in self._connections:
                for sub, (kind, _, _) in connection.subs.items():
                    if kind == "samples":
                        connection.notify("sample", {"sub": sub, "sample": to_wire(sample)})

    # Inside.

    def _tell_runs(self) -> None:
        with self._lock:
            for connection in self._connections:
                for sub, (kind, _, _) in connection.subs.items():
                    if kind == "runs":
                        connection.notify("runs", {"sub": sub, "runs": self.statuses()})

    def statuses(self) -> list[dict[str, Any]]:
        return [to_wire(run.status) for run in self.runs.values()]

    def _push(self, kind: str, run: str) -> None:
        for connection in self._connections:
            for sub, (its_kind, its_run, _) in list(connection.subs.items()):
                if (its_kind, its_run) == (kind, run):
                    connection.push(sub)

    def answer(self, method: str, params: dict[str, Any]) -> Any:
        """Return a method's result; KeyError means that there is no such run."""
        self.requests.append((method, params))
        if method in self.answers:
            return self.answers[method](params)
        return getattr(self, "_do_" + method.replace(".", "_"))(params)

    def _do_hello(self, params: dict[str, Any]) -> Any:
        return {
            "agent": "scripted",
            "build": "test",
            "proto": 1,
            "boot": "b",
            "state_dir": "/s",
            "now": self.wall,
        }

    def _do_ping(self, params: dict[str, Any]) -> Any:
        return {}

    def _do_run_list(self, params: dict[str, Any]) -> Any:
        return self.statuses()

    def _do_run_get(self, params: dict[str, Any]) -> Any:
        return to_wire(self.runs[params["run"]].status)

    def _do_run_spec(self, params: dict[str, Any]) -> Any:
        return self.runs[params["run"]].spec

    def _do_run_launch(self, params: dict[str, Any]) -> Any:
        spec = params["spec"]
        run = self.add(params["run"], "preparing", kind=spec["kind"], preset=spec.get("preset", ""),
                       parent=spec.get("parent", ""), phase="environment", detail="checking")  # fmt: skip
        run.spec = spec
        if spec["kind"] == "serve":
            self.model = self.model or ModelServer()
            self.model.keys.add(params["secrets"]["API_KEY"])
            self.update(params["run"], state="running", phase="serving", port=self.model.port)
        return to_wire(self.runs[params["run"]].status)

    def _do_run_stop(self, params: dict[str, Any]) -> Any:
        self.update(params["run"], state="failed" if params.get("force") else "stopping")
        return to_wire(self.runs[params["run"]].status)

    def _do_run_resume(self, params: dict[str, Any]) -> Any:
        self.update(params["run"], state="starting", ended=None)
        return to_wire(self.runs[params["run"]].status)

    def _do_run_delete(self, params: dict[str, Any]) -> Any:
        gone = self.runs.pop(params["run"])
        self._tell_runs()
        return {"freed_bytes": sum(item.bytes for item in gone.checkpoints)}

    def _do_ckpt_delete(self, params: dict[str, Any]) -> Any:
        run, gone = self.runs[params["run"]], set(params["steps"])
        freed = sum(item.bytes for item in run.checkpoints if item.step in gone)
        run.checkpoints[:] = [item for item in run.checkpoints if item.step not in gone]
        for step in gone:
            folder = f"runs/{params['run']}/output/checkpoint-{step}/"
            self.files = {path: data for path, data in self.files.items() if not path.startswith(folder)}
        return {"freed_bytes": freed}

    def _do_ckpt_list(self, params: dict[str, Any]) -> Any:
        return [to_wire(item) for item in self.runs[params["run"]].checkpoints]

    def _do_blob_have(self, params: dict[str, Any]) -> Any:
        return dict.fromkeys(params["sha256"], -1)

    def _do_file_list(self, params: dict[str, Any]) -> Any:
        folder = params["path"].rstrip("/") + "/" if params["path"] else ""
        found: dict[str, FileEntry] = {}
        for path, data in self.files.items():
            if path.startswith(folder):
                name, slash, _ = path[len(folder) :].partition("/")
                found[name] = FileEntry(
                    name, "dir" if slash else "file", 0 if slash else len(data), self.wall
                )
        after = params.get("after", "")
        return [to_wire(found[name]) for name in sorted(found) if name > after][:5000]

    def _do_file_read(self, params: dict[str, Any]) -> Any:
        data = self.files[params["path"]]
        return {"size": len(data)}, data[params["o"] : params["o"] + params["max"]]

    def _do_health(self, params: dict[str, Any]) -> Any:
        return {"findings": []}


class _Connection(threading.Thread):
    """One client being served."""

    def __init__(self, agent: ScriptedAgent, end: socket.socket) -> None:
        super().__init__(name="scripted-agent", daemon=True)
        self._agent = agent
        self._end = end
        self._sending = threading.Lock()
        #: sub -> [kind, run, bytes sent]
        self.subs: dict[int, list[Any]] = {}

    def run(self) -> None:
        reader = FrameReader()
        try:
            while data := self._end.recv(65536):
                for frame in reader.feed(data):
                    self._handle(frame)
        except OSError:
            return

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()

    def _handle(self, frame: Frame) -> None:
        method, params, number = (frame.header.get(key) for key in ("method", "params", "id"))
        if method == "sub.ack":
            return
        if method == "sub.close":
            with self._agent._lock:
                self.subs.pop(params["sub"], None)
            self._send({"id": number, "result": {}})
        elif method == "sub.open":
            self._open(number, params)
        else:
            self._answer(number, str(method), params)

    def _open(self, number: int, params: dict[str, Any]) -> None:
        with self._agent._lock:
            sub = number
            self.subs[sub] = [params["kind"], params.get("run", ""), params.get("o", 0)]
            self._send({"id": number, "result": {"sub": sub}})
            if params["kind"] == "runs":
                self.notify("runs", {"sub": sub, "runs": self._agent.statuses()})
            elif params["kind"] in ("log", "metrics"):
                self.push(sub)

    def _answer(self, number: int, method: str, params: dict[str, Any]) -> None:
        try:
            result = self._agent.answer(method, params)
        except KeyError as error:
            self._send({"id": number, "error": {"code": NOT_FOUND, "message": f"there is no {error}"}})
            return
        result, payload = result if isinstance(result, tuple) else (result, b"")
        self._send({"id": number, "result": result}, payload)

    def push(self, sub: int) -> None:
        """Send what a log or metrics stream has not sent yet."""
        kind, run, sent = self.subs[sub]
        scripted = self._agent.runs.get(run)
        data = getattr(scripted, kind) if scripted else b""
        while sent < len(data):
            piece = data[sent : sent + STREAM_BYTES]
            self.notify("data", {"sub": sub, "o": sent, "gen": "1"}, piece)
            sent += len(piece)
        self.subs[sub][2] = sent

    def notify(self, method: str, params: dict[str, Any], payload: bytes = b"") -> None:
        self._send({"method": method, "params": params}, payload)

    def _send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        try:
            with self._sending:
                self._end.sendall(encode({"jsonrpc": "2.0", **header}, payload))
        except OSError:
            return
