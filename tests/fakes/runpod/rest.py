"""REST v2 over the store, as its OpenAPI description of August 2026 has it."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.runpod.store import FakePod, Refusal, Store, Wanted

_CREATE_KEYS = {
    "name", "image", "args", "disk", "env", "ports", "registry", "cloud", "cpu", "dataCenterIds",
    "globalNetworking", "gpu", "mounts", "startJupyter", "startSsh", "templateId",
}  # fmt: skip
_ACTIONS = {
    "PROVISIONING": ["stop", "terminate"],
    "STARTING": ["stop", "terminate"],
    "RUNNING": ["stop", "restart", "terminate"],
    "EXITED": ["start", "terminate"],
    "ERROR": ["start", "terminate"],
}


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any = None
    events: Iterator[str] | None = None


@dataclass(frozen=True)
class Call:
    """One authenticated request; ``who`` is "account" or the id of the pod whose key was used."""

    who: str
    method: str
    path: str
    query: dict[str, str]
    body: Any = None


def problem(status: int, detail: str, errors: list[str] | None = None) -> Reply:
    titles = {400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
              404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 422: "Unprocessable Entity",
              429: "Too Many Requests"}  # fmt: skip
    body = {"title": titles.get(status, "Error"), "status": status, "detail": detail}
    return Reply(status, {**body, "errors": errors} if errors else body)


def handle(store: Store, call: Call) -> Reply:
    """Answer one request."""
    try:
        if call.who != "account" and not re.match(rf"/v2/pods/{call.who}(/action)?$", call.path):
            return problem(403, "access denied")
        if (call.method, call.path) == ("GET", "/v2/catalog/gpus"):
            return _gpus(store, call.query)
        if (call.method, call.path) == ("GET", "/v2/pods"):
            return _list(store, call.query)
        if (call.method, call.path) == ("POST", "/v2/pods"):
            return _create(store, call.body)
        match = re.fullmatch(r"/v2/pods/([a-z0-9]+)(/action|/logs)?", call.path)
        pod = store.get(match.group(1)) if match else None
        if match is None or pod is None:
            return problem(404, "resource not found")
        return _pod(store, pod, match.group(2) or "", call)
    except Refusal as refusal:
        return problem(refusal.status, refusal.text)


def _pod(store: Store, pod: FakePod, tail: str, call: Call) -> Reply:
    if (call.method, tail) == ("GET", ""):
        return Reply(200, describe(store, pod))
    if (call.method, tail) == ("PATCH", ""):
        return _patch(store, pod, call.body)
    if (call.method, tail) == ("DELETE", ""):
        store.terminate(pod)
        return Reply(204)
    if (call.method, tail) == ("GET", "/logs"):
        return Reply(200, events=_events(store, pod, call.query))
    if (call.method, tail) == ("POST", "/action"):
        return _act(store, pod, call.body)
    return problem(405, "method not allowed")


def _patch(store: Store, pod: FakePod, body: Any) -> Reply:
    if not isinstance(body, dict) or set(body) - {"args", "name"}:
        return problem(422, "Request validation failed.", ["the fake changes args and name only"])
    if store.status(pod) != "EXITED":
        # A running pod would be reset: everything outside its volume lost.
        return problem(409, "the fake changes stopped pods only")
    pod.wanted.args = body.get("args", pod.wanted.args)
    pod.wanted.name = body.get("name", pod.wanted.name)
    return Reply(200, describe(store, pod))


def _act(store: Store, pod: FakePod, body: Any) -> Reply:
    action = body.get("action") if isinstance(body, dict) and set(body) == {"action"} else None
    if action not in ("start", "stop", "restart", "terminate"):
        return problem(422, "Request validation failed.", ["/action: must be one of start, stop, ..."])
    if action not in _ACTIONS[store.status(pod)]:
        return problem(409, f"action {action} is not valid while the pod is {store.status(pod)}")
    if action == "terminate":
        store.terminate(pod)
        return Reply(204)
    if action == "start":
        try:
            store.resume(pod)
        except Refusal as refusal:
            return problem(refusal.status, f"start pod: {refusal.text}")
    else:
        store.stop(pod)
        if action == "restart":
            store.resume(pod)
    return Reply(200, describe(store, pod))


def _create(store: Store, body: Any) -> Reply:
    errors = _violations(body)
    if errors:
        return problem(422, "Request validation failed.", errors)
    mounts = body.get("mounts") or {}
    persistent, network = mounts.get("persistent") or {}, (mounts.get("network") or [{}])[0]
    if persistent and network:
        return problem(400, "mounts.persistent and mounts.network are mutually exclusive")
    wanted = Wanted(
        name=body["name"],
        image=body["image"],
        gpu=body["gpu"]["id"],
        count=body["gpu"].get("count", 1),
        cloud=body.get("cloud", "SECURE"),
        disk_gb=body.get("disk"),
        volume_gb=persistent.get("size", 0),
        network_volume=network.get("volumeId", ""),
        mount_path=(persistent or network).get("path", ""),
        data_centers=tuple(body.get("dataCenterIds") or ()),
        env=dict(body.get("env") or {}),
        ports=tuple(body.get("ports") or ()),
        args=body.get("args", ""),
        min_cuda=body["gpu"].get("minCudaVersion", ""),
    )
    return Reply(201, describe(store, store.create(wanted)))


def _violations(body: Any) -> list[str]:
    if not isinstance(body, dict):
        return ["/: must be an object"]
    found = [f"/{key}: unknown property" for key in sorted(set(body) - _CREATE_KEYS)]
    if not isinstance(body.get("name"), str) or not body["name"]:
        found.append("/name: minLength 1")
    if not isinstance(body.get("image"), str):
        found.append("/image: required")
    gpu = body.get("gpu")
    if not isinstance(gpu, dict) or not isinstance(gpu.get("id"), str):
        found.append("/gpu: required")
    elif type(gpu.get("count", 1)) is not int or gpu.get("count", 1) < 1:
        found.append("/gpu/count: minimum 1")
    if not all(isinstance(value, str) for value in (body.get("env") or {}).values()):
        found.append("/env: values must be strings")
    persistent = (body.get("mounts") or {}).get("persistent")
    if persistent is not None and persistent.get("size", 0) < 10:
        found.append("/mounts/persistent/size: minimum 10")
    return found


def _list(store: Store, query: dict[str, str]) -> Reply:
    pods = sorted(store.all(), key=lambda pod: pod.id)
    limit = int(query.get("limit", store.page_size or len(pods) or 1))
    if store.page_size:
        limit = min(limit, store.page_size)
    after = query.get("cursor", "")
    rest = [pod for pod in pods if pod.id > after]
    body: dict[str, Any] = {"pods": [describe(store, pod) for pod in rest[:limit]]}
    if store.page_size or "limit" in query:
        more = len(rest) > limit
        body["pagination"] = {"hasNextPage": more, "nextCursor": rest[limit - 1].id if more else None}
    return Reply(200, body)


def _gpus(store: Store, query: dict[str, str]) -> Reply:
    available = query.get("include") == "AVAILABILITY"
    if ("product" in query) != available:
        return problem(400, "product is required with include=AVAILABILITY, and valid only with it")
    cloud, count = query.get("cloud", "SECURE"), int(query.get("count", "1"))
    found = []
    for card in store.cards:
        entry: dict[str, Any] = {
            "id": card.id,
            "name": card.name,
            "pool": None,
            "manufacturer": "AMD" if card.id.startswith("AMD") else "NVIDIA",
            "memory": card.memory_gb,
            "secure": card.secure is not None,
            "community": card.community is not None,
            "price": {"secure": card.secure or 0.0, "community": card.community or 0.0},
            "maxCount": {"secure": card.max_count, "community": card.max_count // 2},
        }
        if available:
            entry["availability"] = card.stock(cloud, None, count)
            entry["dataCenters"] = [
                {"id": dc, "name": dc, "availability": card.stock(cloud, dc, count)}
                for dc in card.data_centers(cloud)
            ]
        found.append(entry)
    return Reply(200, {"gpus": found})


def describe(store: Store, pod: FakePod) -> dict[str, Any]:
    status = store.status(pod)
    port = store.ssh_port(pod)
    running = status == "RUNNING"
    proxy = f"{pod.id}-64410ad7"
    direct = None
    if port is not None:
        direct = {"host": pod.ip, "port": port, "username": store.ssh_user, "command": ""}
    runtime = None
    if running:
        ports = [{"private": 22, "public": port, "type": "tcp", "ip": pod.ip if port else None}]
        runtime = {"uptime": int(store.age(pod)), "ports": ports}
    wanted = pod.wanted
    mounts: dict[str, Any] = {}
    if wanted.network_volume:
        mounts = {"network": [{"volumeId": wanted.network_volume, "path": wanted.mount_path}]}
    elif wanted.volume_gb:
        mounts = {"persistent": {"size": wanted.volume_gb, "path": wanted.mount_path}}
    return {
        "id": pod.id,
        "name": wanted.name,
        "image": wanted.image,
        "args": wanted.args,
        "disk": wanted.disk_gb,
        "ports": list(wanted.ports),
        "env": wanted.env,
        "registry": None,
        "status": status,
        "actions": _ACTIONS[status],
        "mounts": mounts,
        "gpu": {"id": pod.card.id, "count": pod.gpu_count},
        "cloud": wanted.cloud,
        "dataCenterId": pod.data_center,
        "cudaVersion": "13.0",
        "ssh": {
            "proxy": {"host": "ssh.runpod.io", "port": 22, "username": proxy, "command": f"ssh {proxy}"},
            "direct": direct,
        },
        "template": None,
        "cost": pod.cost_per_h,
        "locked": False,
        "globalNetworking": {"enabled": False},
        "runtime": runtime,
        "createdAt": iso(pod.created),
        "startedAt": iso(pod.started) if running else None,
    }


def _events(store: Store, pod: FakePod, query: dict[str, str]) -> Iterator[str]:
    """Yield what there is, then wait for more; an empty text lets the server notice a reader who left."""
    source = query.get("source")
    sent = int(query.get("last_event") or 0)
    if not sent and "tail" in query:
        sent = max(0, len(pod.log) - int(query["tail"]))
    while pod.id in store.pods:
        with store.changed:
            fresh = pod.log[sent:]
            if not fresh:
                store.changed.wait(0.1)
        if not fresh:
            yield ""
        for at, its_source, line in fresh:
            sent += 1
            if source in (None, its_source):
                data = json.dumps({"ts": iso(at), "source": its_source, "line": line})
                yield f"id: {iso(at)}/{sent:012}\ndata: {data}\n\n"


def iso(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
