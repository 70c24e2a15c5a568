"""The GraphQL endpoint over the store, parsed and validated by a real GraphQL implementation."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError, build_schema, graphql_sync

from tests.fakes.runpod.catalog import Card
from tests.fakes.runpod.rest import iso
from tests.fakes.runpod.store import FakePod, Refusal, Store, Wanted

_SCHEMA = build_schema("""
scalar Void
scalar DateTime
enum CloudTypeEnum { ALL SECURE COMMUNITY }
input GpuTypeFilter { id: String ids: [String] }
input GpuLowestPriceInput { gpuCount: Int secureCloud: Boolean dataCenterId: String minDisk: Int }
input PodFilter { podId: String }
input PodStopInput { podId: String! }
input PodResumeInput { podId: String! gpuCount: Int }
input PodBidResumeInput { podId: String! gpuCount: Int bidPerGpu: Float }
input PodTerminateInput { podId: String! }
input EnvironmentVariableInput { key: String! value: String! }
input DeployInput {
  name: String imageName: String cloudType: CloudTypeEnum startSsh: Boolean gpuTypeId: String
  supportPublicIp: Boolean gpuCount: Int volumeInGb: Int minVcpuCount: Int minMemoryInGb: Int
  allowedCudaVersions: [String] dataCenterId: String dockerArgs: String countryCode: String
  containerDiskInGb: Int ports: String volumeMountPath: String env: [EnvironmentVariableInput]
  templateId: String networkVolumeId: String minDownload: Int minUpload: Int stopAfter: DateTime
  terminateAfter: DateTime minCudaVersion: String containerRegistryAuthId: String bidPerGpu: Float
}
type LowestPrice {
  minimumBidPrice: Float uninterruptablePrice: Float stockStatus: String availableGpuCounts: [Int]
}
type GpuType {
  id: String displayName: String manufacturer: String memoryInGb: Int cudaCores: Int maxGpuCount: Int
  secureCloud: Boolean communityCloud: Boolean securePrice: Float communityPrice: Float
  oneMonthPrice: Float threeMonthPrice: Float oneWeekPrice: Float communitySpotPrice: Float
  secureSpotPrice: Float lowestPrice(input: GpuLowestPriceInput): LowestPrice
}
type Port { ip: String isIpPublic: Boolean privatePort: Int publicPort: Int type: String }
type Runtime { uptimeInSeconds: Int ports: [Port] }
type Machine { podHostId: String gpuDisplayName: String dataCenterId: String }
type Pod {
  id: String name: String imageName: String desiredStatus: String containerDiskInGb: Int costPerHr: Float
  dockerArgs: String dockerId: String env: [String] gpuCount: Int lastStatusChange: String
  machineId: String memoryInGb: Int podType: String port: Int ports: String uptimeSeconds: Int
  vcpuCount: Int volumeInGb: Int volumeMountPath: String createdAt: DateTime networkVolumeId: String
  runtime: Runtime machine: Machine
}
type NetworkVolume { id: String name: String size: Int dataCenterId: String }
type User {
  id: String pubKey: String clientBalance: Float currentSpendPerHr: Float networkVolumes: [NetworkVolume]
  pods: [Pod]
}
type Query { gpuTypes(input: GpuTypeFilter): [GpuType] myself: User pod(input: PodFilter): Pod }
type Mutation {
  podFindAndDeployOnDemand(input: DeployInput): Pod podRentInterruptable(input: DeployInput): Pod
  podStop(input: PodStopInput!): Pod podResume(input: PodResumeInput!): Pod
  podBidResume(input: PodBidResumeInput!): Pod podTerminate(input: PodTerminateInput!): Void
}
""")


def execute(store: Store, who: str, query: str) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the body of the answer; errors of the rules come with status 200."""
    result = graphql_sync(_SCHEMA, query, root_value=_Root(store, who))
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        body = {"errors": [_error(error) for error in result.errors], **body}
    rejected = bool(result.errors) and result.data is None and not result.errors[0].path
    return (400 if rejected else 200), body


def _error(error: GraphQLError) -> dict[str, Any]:
    return {"message": error.message, "path": error.path, "extensions": {"code": "RUNPOD"}}


@dataclass
class _Root:
    store: Store
    who: str

    def gpuTypes(self, _info: Any, input: dict[str, Any] | None = None) -> list[Any]:
        wanted = (input or {}).get("id")
        return [_GpuType(card) for card in self.store.cards if wanted in (None, card.id)]

    def myself(self, _info: Any) -> Any:
        self._account_only()
        self.store.settle()
        store = self.store
        return {
            "id": "user_1",
            "pubKey": None,
            "clientBalance": store.balance,
            "currentSpendPerHr": sum(pod.cost_per_h for pod in store.all()),
            "networkVolumes": [
                {"id": name, "name": name, "size": 100, "dataCenterId": dc}
                for name, dc in store.network_volumes.items()
            ],
            "pods": [_describe(store, pod) for pod in store.all()],
        }

    def pod(self, _info: Any, input: dict[str, Any]) -> Any:
        found = self.store.get(input["podId"])
        return _describe(self.store, found) if found and self.who in ("account", found.id) else None

    def podFindAndDeployOnDemand(self, _info: Any, input: dict[str, Any]) -> Any:
        self._account_only()
        return _describe(self.store, _create(self.store, {**input, "bidPerGpu": None}))

    def podRentInterruptable(self, _info: Any, input: dict[str, Any]) -> Any:
        self._account_only()
        return _describe(self.store, _create(self.store, input))

    def podStop(self, _info: Any, input: dict[str, Any]) -> Any:
        pod = self._own(input["podId"])
        self.store.stop(pod)
        return _describe(self.store, pod)

    def podResume(self, _info: Any, input: dict[str, Any]) -> Any:
        pod = self._own(input["podId"])
        with _refusals():
            self.store.resume(pod)
        return _describe(self.store, pod)

    podBidResume = podResume

    def podTerminate(self, _info: Any, input: dict[str, Any]) -> None:
        self.store.terminate(self._own(input["podId"]))

    def _own(self, pod_id: str) -> FakePod:
        pod = self.store.get(pod_id)
        if pod is None or self.who not in ("account", pod.id):
            raise GraphQLError("Pod not found or you do not have access to it.")
        return pod

    def _account_only(self) -> None:
        if self.who != "account":
            raise GraphQLError("Unauthorized")


class _refusals:
    """The store's refusals as GraphQL errors."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Refusal):
            raise GraphQLError(error.text)


def _create(store: Store, fields: dict[str, Any]) -> FakePod:
    clouds = ("SECURE", "COMMUNITY") if fields.get("cloudType", "ALL") == "ALL" else (fields["cloudType"],)
    after = fields.get("terminateAfter")
    wanted = Wanted(
        name=fields.get("name") or "",
        image=fields.get("imageName") or "",
        gpu=fields.get("gpuTypeId") or "",
        count=fields.get("gpuCount") or 1,
        cloud=clouds[0],
        disk_gb=fields.get("containerDiskInGb"),
        volume_gb=fields.get("volumeInGb") or 0,
        network_volume=fields.get("networkVolumeId") or "",
        mount_path=fields.get("volumeMountPath") or "",
        data_centers=(fields["dataCenterId"],) if fields.get("dataCenterId") else (),
        env={item["key"]: item["value"] for item in fields.get("env") or ()},
        ports=tuple((fields.get("ports") or "").split(",")),
        args=fields.get("dockerArgs") or "",
        min_cuda=fields.get("minCudaVersion") or "",
        terminate_after=_seconds(after) if after else None,
        bid=fields.get("bidPerGpu"),
    )
    with _refusals():
        return store.create(wanted)
    raise AssertionError


def _seconds(text: str) -> float:
    if not text.endswith("Z"):
        raise GraphQLError("terminateAfter must be in UTC")
    return datetime.datetime.fromisoformat(text).timestamp()


class _GpuType:
    def __init__(self, card: Card) -> None:
        self._card = card
        self.id, self.displayName, self.memoryInGb = card.id, card.name, card.memory_gb
        self.manufacturer = "AMD" if card.id.startswith("AMD") else "Nvidia"
        self.maxGpuCount = card.max_count
        self.secureCloud, self.communityCloud = card.secure is not None, card.community is not None
        self.securePrice, self.communityPrice = card.secure, card.community
        self.secureSpotPrice, self.communitySpotPrice = card.secure_spot, None

    def lowestPrice(self, _info: Any, input: dict[str, Any] | None = None) -> dict[str, Any]:
        asked = input or {}
        cloud = "COMMUNITY" if asked.get("secureCloud") is False else "SECURE"
        stock = self._card.stock(cloud, asked.get("dataCenterId"), asked.get("gpuCount") or 1)
        return {
            "stockStatus": stock.title(),
            "uninterruptablePrice": self._card.price(cloud),
            "minimumBidPrice": self._card.secure_spot if cloud == "SECURE" else None,
            "availableGpuCounts": [],
        }


def _describe(store: Store, pod: FakePod) -> dict[str, Any]:
    port = store.ssh_port(pod)
    status = store.status(pod)
    runtime = None
    if pod.desired == "RUNNING" and status in ("STARTING", "RUNNING"):
        entry = {"ip": pod.ip, "isIpPublic": True, "privatePort": 22, "publicPort": port, "type": "tcp"}
        proxied = {**entry, "ip": "100.65.0.1", "isIpPublic": False, "privatePort": 8888, "type": "http"}
        runtime = {"uptimeInSeconds": int(store.age(pod)), "ports": [proxied, entry] if port else None}
    return {
        "id": pod.id,
        "name": pod.wanted.name,
        "imageName": pod.wanted.image,
        "desiredStatus": pod.desired,
        "containerDiskInGb": pod.wanted.disk_gb,
        "costPerHr": pod.cost_per_h,
        "env": [f"{key}={value}" for key, value in pod.env.items()],
        "gpuCount": pod.gpu_count,
        "ports": ",".join(pod.wanted.ports),
        "volumeInGb": pod.wanted.volume_gb,
        "volumeMountPath": pod.wanted.mount_path,
        "networkVolumeId": pod.wanted.network_volume or None,
        "createdAt": iso(pod.created),
        "runtime": runtime,
        "machine": {
            "podHostId": f"{pod.id}-64410ad7",
            "gpuDisplayName": pod.card.name,
            "dataCenterId": pod.data_center,
        },
    }
