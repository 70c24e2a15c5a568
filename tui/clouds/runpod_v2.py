"""RunPod through its REST API v2."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from tui.clouds import runpod_deadline
from tui.clouds.at_once import at_once
from tui.clouds.base import STOCK_LEVELS, Balance, Endpoint, Offer, Pod, PodRequest, marker_of, short_name
from tui.clouds.errors import NoSuchPod, Rejected
from tui.clouds.rfc3339 import from_text
from tui.clouds.runpod_account import ApiKey, checked_id, refuse_key_in
from tui.clouds.runpod_http import RunPodHttp, ambiguous
from tui.clouds.runpod_logs import follow

GIB = 1024**3
MOUNT_PATH = "/workspace"
_CLOUDS = ("secure", "community")
_STATES = {
    "PROVISIONING": "renting",
    "STARTING": "starting",
    "RUNNING": "running",
    "EXITED": "stopped",
    "ERROR": "failed",
    "TERMINATED": "gone",
}
#: More pages than any account has; a server that repeats itself must not hold us for ever.
_MAX_PAGES = 100


class RunPodV2:
    """One account; see `tui.clouds.base.Cloud`."""

    name = "runpod"

    def __init__(self, key: ApiKey, base: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._key = key
        self._http = RunPodHttp(key, base, sleep)

    def offers(self, count: int) -> tuple[Offer, ...]:
        """Return what can be rented with ``count`` GPUs; stock is told per cloud, so two requests at once."""
        catalogs = at_once([partial(self._catalog, cloud, count) for cloud in _CLOUDS])
        return tuple(
            offer
            for cloud, catalog in zip(_CLOUDS, catalogs, strict=True)
            for offer in _offers(catalog, cloud, count)
        )

    def create(self, request: PodRequest) -> Pod:
        """Rent a pod, asking once; its deadline is watched by the pod's own first process."""
        if request.spot_bid_per_h is not None:
            raise Rejected(
                "RunPod's REST API rents no spot pods",
                remedy='set runpod_api = "graphql" in config.toml, or rent on demand',
            )
        refuse_key_in(request, self._key)
        pod = _pod(self._http.create("/v2/pods", _body(request, self._http.base)))
        if pod is None:
            raise ambiguous("the answer describes no pod")
        return pod

    def get(self, pod: str) -> Pod | None:
        """Return a pod by its id, or None when it is gone."""
        try:
            return _pod(self._http.ask("tell about the pod", "GET", _path(pod)))
        except NoSuchPod:
            return None

    def list(self) -> tuple[Pod, ...]:
        """Return every pod of the account."""
        found: dict[str, Pod] = {}
        cursor = ""
        for _ in range(_MAX_PAGES):
            params = {"cursor": cursor} if cursor else None
            page = self._http.ask("list the pods", "GET", "/v2/pods", params)
            for data in _items(page, "pods"):
                pod = _pod(data)
                if pod is not None:
                    found[pod.id] = pod
            turn = page.get("pagination") if isinstance(page, dict) else None
            following = turn.get("nextCursor") if isinstance(turn, dict) and turn.get("hasNextPage") else None
            if not isinstance(following, str) or following in ("", cursor):
                break
            cursor = following
        return tuple(found.values())

    def stop(self, pod: str) -> None:
        """Stop a pod; one that is stopped already is not an error."""
        try:
            self._act(pod, "stop", "stop the pod")
        except Rejected:
            now = self.get(pod)
            if now is None or now.state != "stopped":
                raise

    def resume(self, pod: str, terminate_after: float | None = None) -> Pod:
        """Start a stopped pod, its deadline changed first; one that runs already is returned as it is."""
        before = self.get(pod)
        if terminate_after is not None and before is not None and before.state == "stopped":
            arguments = runpod_deadline.container_arguments(terminate_after, self._http.base)
            self._http.ask("change the pod's deadline", "PATCH", _path(pod), body={"args": arguments})
        try:
            answer = _pod(self._act(pod, "start", "start the pod"))
        except Rejected:
            answer = self.get(pod)
            if answer is None or answer.state not in ("renting", "starting", "running"):
                raise
        now = answer or self.get(pod)
        if now is None:
            raise NoSuchPod(f"the pod {pod} is gone", remedy="see finetui pods list")
        return now

    def terminate(self, pod: str) -> None:
        """End a pod; one that is gone already is not an error."""
        try:
            self._http.ask("terminate the pod", "DELETE", _path(pod))
        except NoSuchPod:
            return

    def balance(self) -> Balance | None:
        """Return None: this API does not tell."""
        return None

    def logs(self, pod: str, quiet_s: float) -> Iterator[str]:
        """Yield the container's lines until none comes for ``quiet_s`` seconds."""
        return follow(self._http, _path(pod, "/logs"), quiet_s)

    def _act(self, pod: str, action: str, doing: str) -> Any:
        return self._http.ask(doing, "POST", _path(pod, "/action"), body={"action": action})

    def _catalog(self, cloud: str, count: int) -> Any:
        params = {"include": "AVAILABILITY", "product": "POD", "count": str(count), "cloud": cloud.upper()}
        return self._http.ask("list its cards", "GET", "/v2/catalog/gpus", params)


def _path(pod: str, tail: str = "") -> str:
    return f"/v2/pods/{checked_id(pod)}{tail}"


def _body(request: PodRequest, base: str) -> dict[str, Any]:
    gpu: dict[str, Any] = {"id": request.gpu, "count": request.count}
    if request.min_cuda:
        gpu["minCudaVersion"] = request.min_cuda
    if request.network_volume:
        mounts: dict[str, Any] = {"network": [{"volumeId": request.network_volume, "path": MOUNT_PATH}]}
    else:
        mounts = {"persistent": {"size": max(10, request.volume_gib), "path": MOUNT_PATH}}
    body: dict[str, Any] = {
        "name": request.pod_name,
        "image": request.image,
        "cloud": request.cloud.upper(),
        "gpu": gpu,
        "disk": request.container_disk_gib,
        "mounts": mounts,
        "ports": ["22/tcp"],
        # PUBLIC_KEY of the body wins over the account's keys, which stay out of the pod.
        "env": {**request.env, "PUBLIC_KEY": request.public_key},
        "startSsh": True,
        "args": runpod_deadline.container_arguments(request.terminate_after, base),
    }
    if request.data_centers:
        body["dataCenterIds"] = list(request.data_centers)
    return body


def _offers(catalog: Any, cloud: str, count: int) -> Iterator[Offer]:
    for card in _items(catalog, "gpus"):
        price, most = card.get("price"), card.get("maxCount")
        per_gpu = _number(price.get(cloud)) if isinstance(price, Mapping) else 0.0
        limit = _number(most.get(cloud)) if isinstance(most, Mapping) else float(count)
        memory = _number(card.get("memory"))
        rentable = card.get(cloud) is not False and per_gpu > 0 and limit >= count and memory > 0
        # The trainers need CUDA.
        if not rentable or card.get("manufacturer", "NVIDIA") != "NVIDIA" or not card.get("id"):
            continue
        yield Offer(
            gpu=str(card["id"]),
            name=str(card.get("name") or card["id"]),
            count=count,
            vram_bytes=int(memory * GIB),
            cloud=cloud,
            price_per_h=per_gpu * count,
            stock=_stock(card),
            data_centers=_data_centers(card),
        )


def _data_centers(card: Mapping[str, Any]) -> tuple[str, ...]:
    levels = {
        str(place["id"]): _stock(place)
        for place in _items(card, "dataCenters")
        if place.get("id") and _stock(place) != "none"
    }
    return tuple(sorted(levels, key=lambda name: (STOCK_LEVELS.index(levels[name]), name)))


def _stock(data: Mapping[str, Any]) -> str:
    level = str(data.get("availability") or "").lower()
    return level if level in STOCK_LEVELS else ""


def _pod(data: Any) -> Pod | None:
    """Read a pod however much or little is told of it; None where there is not even an id."""
    if not isinstance(data, Mapping) or not isinstance(data.get("id"), str):
        return None
    name = str(data.get("name") or "")
    gpu = data.get("gpu")
    gpu = gpu if isinstance(gpu, Mapping) else {}
    endpoint = _endpoint(data)
    return Pod(
        id=data["id"],
        name=short_name(name),
        state=_STATES.get(str(data.get("status")), "running" if endpoint else "starting"),
        gpu=str(gpu.get("id") or ""),
        count=int(_number(gpu.get("count"))),
        price_per_h=_number(data.get("cost")),
        created=from_text(data.get("createdAt")),
        endpoint=endpoint,
        marker=marker_of(name),
        data_center=str(data.get("dataCenterId") or ""),
        volume=_volume(data.get("mounts")),
    )


def _endpoint(data: Mapping[str, Any]) -> Endpoint | None:
    ssh = data.get("ssh")
    direct = ssh.get("direct") if isinstance(ssh, Mapping) else None
    if isinstance(direct, Mapping) and direct.get("host") and type(direct.get("port")) is int:
        return Endpoint(str(direct["host"]), direct["port"], str(direct.get("username") or "root"))
    runtime = data.get("runtime")
    for port in _items(runtime, "ports"):
        if port.get("private") == 22 and port.get("ip") and type(port.get("public")) is int:
            return Endpoint(str(port["ip"]), port["public"])
    return None


def _volume(mounts: Any) -> str:
    for item in _items(mounts, "network"):
        return str(item.get("volumeId") or "")
    return ""


def _items(data: Any, key: str) -> list[Mapping[str, Any]]:
    found = data.get(key) if isinstance(data, Mapping) else None
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
