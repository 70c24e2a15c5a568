"""RunPod through its own SDK: pods from the SDK's functions, what it lacks through its GraphQL call.

For what REST v2 can't do: a deadline kept by the provider, the account's balance, spot pods. The provider has
announced the end of this API for early 2027.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tui.clouds.base import STOCK_LEVELS, Balance, Endpoint, Offer, Pod, PodRequest, marker_of, short_name
from tui.clouds.errors import Ambiguous, CloudUnreachable, NoSuchPod, Rejected
from tui.clouds.rfc3339 import from_text, to_text
from tui.clouds.runpod_account import ApiKey, checked_id, refuse_key_in
from tui.clouds.runpod_http import RunPodHttp
from tui.clouds.runpod_logs import follow
from tui.clouds.runpod_sdk import Sdk

GIB = 1024**3
MOUNT_PATH = "/workspace"
ATTEMPTS = 4
_STATES = {"EXITED": "stopped", "TERMINATED": "gone", "DEAD": "failed"}
#: The SDK's own query has neither the data center nor the time of creation.
_POD = """{ id name desiredStatus costPerHr gpuCount createdAt networkVolumeId
  runtime { ports { ip isIpPublic privatePort publicPort type } }
  machine { gpuDisplayName dataCenterId } }"""
_PODS = f"query {{ myself {{ pods {_POD} }} }}"
_BALANCE = "query { myself { clientBalance currentSpendPerHr } }"
_OFFERS = """query { gpuTypes {
  id displayName manufacturer memoryInGb maxGpuCount secureCloud communityCloud
  securePrice communityPrice secureSpotPrice communitySpotPrice
  secure: lowestPrice(input: {gpuCount: %(count)d, secureCloud: true}) { stockStatus }
  community: lowestPrice(input: {gpuCount: %(count)d, secureCloud: false}) { stockStatus }
} }"""
_CREATE = "mutation { %s(input: {%s}) " + _POD + " }"


class RunPodGraphql:
    """One account; see `tui.clouds.base.Cloud`."""

    name = "runpod"

    def __init__(
        self, key: ApiKey, sdk: Sdk, http: RunPodHttp, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._key = key
        self._sdk = sdk
        self._http = http
        self._sleep = sleep

    def offers(self, count: int) -> tuple[Offer, ...]:
        """Return what can be rented with ``count`` GPUs; data centers are not told."""
        cards = self._ask("list its cards", lambda: self._sdk.query(_OFFERS % {"count": count}))
        return tuple(_offers(_dig(cards, "data", "gpuTypes"), count))

    def create(self, request: PodRequest) -> Pod:
        """Rent a pod, asking once, with a deadline that the provider keeps."""
        refuse_key_in(request, self._key)
        mutation = "podRentInterruptable" if request.spot_bid_per_h else "podFindAndDeployOnDemand"
        try:
            answer = self._sdk.query(_CREATE % (mutation, _fields(request)), doing="rent the pod")
        except CloudUnreachable as error:
            raise Ambiguous(
                "RunPod did not say whether it rented the pod",
                cause=error.cause or error.message,
                remedy="look with: finetui pods list",
            ) from error
        pod = _pod(_dig(answer, "data", mutation))
        if pod is None:
            raise Ambiguous("RunPod did not say which pod it rented", remedy="look with: finetui pods list")
        return pod

    def get(self, pod: str) -> Pod | None:
        """Return a pod by its id, or None when it is gone."""
        return next((found for found in self.list() if found.id == pod), None)

    def list(self) -> tuple[Pod, ...]:
        """Return every pod of the account."""
        answer = self._ask("list the pods", lambda: self._sdk.query(_PODS))
        pods = _dig(answer, "data", "myself", "pods")
        if not isinstance(pods, list):
            raise CloudUnreachable("RunPod did not list the pods", cause="its answer has none")
        return tuple(pod for pod in map(_pod, pods) if pod is not None)

    def stop(self, pod: str) -> None:
        """Stop a pod; one that is stopped already is not an error."""
        self._ask("stop the pod", lambda: self._sdk.call("stop_pod", checked_id(pod), doing="stop the pod"))

    def resume(self, pod: str, terminate_after: float | None = None) -> Pod:
        """Start a stopped pod with as many GPUs as it had; this API can't change its deadline."""
        before = self.get(pod)
        if before is None:
            raise NoSuchPod(f"RunPod knows no pod {pod}", remedy="see finetui pods list")
        if before.state != "stopped":
            return before
        self._sdk.call("resume_pod", checked_id(pod), max(1, before.count), doing="start the pod")
        after = self.get(pod)
        if after is None:
            raise NoSuchPod(f"the pod {pod} is gone", remedy="see finetui pods list")
        return after

    def terminate(self, pod: str) -> None:
        """End a pod; one that is gone already is not an error."""
        doing, checked = "terminate the pod", checked_id(pod)
        try:
            self._ask(doing, lambda: self._sdk.call("terminate_pod", checked, doing=doing))
        except (Rejected, NoSuchPod):
            if self.get(pod) is not None:
                raise

    def balance(self) -> Balance | None:
        """Return the account's credit."""
        found = _dig(self._ask("tell the balance", lambda: self._sdk.query(_BALANCE)), "data", "myself")
        if not isinstance(found, Mapping) or not isinstance(found.get("clientBalance"), (int, float)):
            return None
        return Balance(float(found["clientBalance"]), _number(found.get("currentSpendPerHr")))

    def logs(self, pod: str, quiet_s: float) -> Iterator[str]:
        """Yield the container's lines, from the REST API: this one has no logs."""
        return follow(self._http, f"/v2/pods/{checked_id(pod)}/logs", quiet_s)

    def _ask(self, doing: str, request: Callable[[], Any]) -> Any:
        """Send what may be sent twice, again where that may help."""
        for attempt in range(ATTEMPTS):
            try:
                return request()
            except CloudUnreachable as error:
                if attempt == ATTEMPTS - 1:
                    raise CloudUnreachable(
                        f"RunPod did not {doing}", cause=error.cause or error.message, remedy=error.remedy
                    ) from error
                self._sleep(2.0**attempt)
        raise AssertionError


def _fields(request: PodRequest) -> str:
    """The input of a create as GraphQL literals; JSON strings are GraphQL strings, escapes included."""
    env = {**request.env, "PUBLIC_KEY": request.public_key}
    pairs = ", ".join(f"{{key: {json.dumps(key)}, value: {json.dumps(env[key])}}}" for key in env)
    fields = {
        "name": json.dumps(request.pod_name),
        "imageName": json.dumps(request.image),
        "cloudType": request.cloud.upper(),
        "gpuTypeId": json.dumps(request.gpu),
        "gpuCount": str(request.count),
        "containerDiskInGb": str(request.container_disk_gib),
        "volumeMountPath": json.dumps(MOUNT_PATH),
        "ports": json.dumps("22/tcp"),
        "startSsh": "true",
        "supportPublicIp": "true",
        "env": f"[{pairs}]",
        "terminateAfter": json.dumps(to_text(request.terminate_after)),
    }
    if request.network_volume:
        fields["networkVolumeId"] = json.dumps(request.network_volume)
    else:
        fields["volumeInGb"] = str(max(10, request.volume_gib))
    if request.data_centers:
        # One only: whoever wants several asks for one after another.
        fields["dataCenterId"] = json.dumps(request.data_centers[0])
    if request.min_cuda:
        fields["minCudaVersion"] = json.dumps(request.min_cuda)
    if request.spot_bid_per_h:
        fields["bidPerGpu"] = f"{request.spot_bid_per_h:.4f}"
    return ", ".join(f"{name}: {value}" for name, value in fields.items())


def _offers(cards: Any, count: int) -> Iterator[Offer]:
    for card in cards if isinstance(cards, list) else ():
        if not isinstance(card, Mapping) or str(card.get("manufacturer", "NVIDIA")).upper() != "NVIDIA":
            continue
        memory, most = _number(card.get("memoryInGb")), _number(card.get("maxGpuCount"))
        for cloud in ("secure", "community"):
            price, spot = _number(card.get(f"{cloud}Price")), _number(card.get(f"{cloud}SpotPrice"))
            if not card.get(f"{cloud}Cloud") or price <= 0 or memory <= 0 or 0 < most < count:
                continue
            stock = str(_dig(card, cloud, "stockStatus") or "").lower()
            yield Offer(
                gpu=str(card.get("id")),
                name=str(card.get("displayName") or card.get("id")),
                count=count,
                vram_bytes=int(memory * GIB),
                cloud=cloud,
                price_per_h=price * count,
                stock=stock if stock in STOCK_LEVELS else "",
                spot_price_per_h=spot * count if spot > 0 else None,
            )


def _pod(data: Any) -> Pod | None:
    if not isinstance(data, Mapping) or not isinstance(data.get("id"), str):
        return None
    name, runtime = str(data.get("name") or ""), data.get("runtime")
    endpoint = _endpoint(runtime)
    # "RUNNING" is what is desired: without a runtime the image is still being pulled.
    state = "running" if endpoint else "starting" if runtime else "renting"
    stopped = _STATES.get(str(data.get("desiredStatus")))
    return Pod(
        id=data["id"],
        name=short_name(name),
        state=stopped or state,
        gpu=str(_dig(data, "machine", "gpuDisplayName") or ""),
        count=int(_number(data.get("gpuCount"))),
        price_per_h=0.0 if stopped else _number(data.get("costPerHr")),
        created=from_text(data.get("createdAt")),
        endpoint=None if stopped else endpoint,
        marker=marker_of(name),
        data_center=str(_dig(data, "machine", "dataCenterId") or ""),
        volume=str(data.get("networkVolumeId") or ""),
    )


def _endpoint(runtime: Any) -> Endpoint | None:
    ports = _dig(runtime, "ports")
    for port in ports if isinstance(ports, list) else ():
        if not isinstance(port, Mapping) or port.get("privatePort") != 22 or not port.get("isIpPublic"):
            continue
        if port.get("ip") and type(port.get("publicPort")) is int:
            return Endpoint(str(port["ip"]), port["publicPort"])
    return None


def _dig(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
