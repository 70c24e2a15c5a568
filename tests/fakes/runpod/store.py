"""The account: its pods, their life, its money. Both APIs read and change this one store."""

from __future__ import annotations

import getpass
import secrets
import threading
from dataclasses import dataclass, field
from typing import Protocol

from tests.fakes.runpod.catalog import Card, default_catalog
from tests.fakes.runpod.texts import (
    BAD_CUDA,
    MISSING_DISK,
    NO_CREDIT,
    NO_DISK_SPACE,
    NO_FREE_GPUS,
    NO_INSTANCES,
    UNKNOWN_GPU,
)

HOST_CUDA = "13.0"


class Refusal(Exception):
    """The store says no; the APIs turn it into their own kind of error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Clock(Protocol):
    def now(self) -> float: ...


@dataclass
class Timings:
    """Seconds from one stage of a starting pod to the next."""

    pull: float = 60.0
    boot: float = 20.0
    ports: float = 5.0
    sshd: float = 10.0


@dataclass
class Wanted:
    """A create request, whichever API it came by."""

    name: str
    image: str
    gpu: str
    count: int
    cloud: str
    disk_gb: int | None
    volume_gb: int = 0
    network_volume: str = ""
    mount_path: str = "/workspace"
    data_centers: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] = ()
    args: str = ""
    min_cuda: str = ""
    terminate_after: float | None = None
    bid: float | None = None


@dataclass
class FakePod:
    """One pod; ``started`` is the time of its last start, ``boots`` counts them."""

    id: str
    wanted: Wanted
    card: Card
    data_center: str
    created: float
    started: float
    api_key: str
    public_port: int
    gpu_count: int
    desired: str = "RUNNING"
    boots: int = 1
    stuck: bool = False
    old_port: int | None = None
    stale_polls: int = 0
    ip: str = "127.0.0.1"
    log: list[tuple[float, str, str]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        return self.wanted.env

    @property
    def cost_per_h(self) -> float:
        price = self.wanted.bid or self.card.price(self.wanted.cloud) or 0.0
        return price * self.gpu_count if self.desired == "RUNNING" else 0.0

    @property
    def pid1_env(self) -> dict[str, str]:
        """What the container's first process has; SSH sessions do not inherit it."""
        return {
            **self.env,
            "RUNPOD_POD_ID": self.id,
            "RUNPOD_API_KEY": self.api_key,
            "RUNPOD_DC_ID": self.data_center,
            "RUNPOD_GPU_COUNT": str(self.gpu_count),
            "RUNPOD_PUBLIC_IP": self.ip,
            "RUNPOD_TCP_PORT_22": str(self.public_port),
        }


class Backing(Protocol):
    """What makes a pod reachable; the default is nothing at all."""

    def port(self, pod: FakePod) -> int: ...
    def up(self, pod: FakePod) -> list[str]: ...
    def down(self, pod: FakePod, wipe: bool) -> None: ...


class NoBacking:
    """Ports that nobody listens on."""

    def __init__(self) -> None:
        self._next = 40_000

    def port(self, pod: FakePod) -> int:
        self._next += 1
        return self._next

    def up(self, pod: FakePod) -> list[str]:
        return ["256 SHA256:" + secrets.token_hex(22)[:43] + " root@pod (ED25519)"]

    def down(self, pod: FakePod, wipe: bool) -> None:
        return None


class Store:
    """Every knob is an attribute; every call first lets time do what it has done since the last one."""

    def __init__(self, clock: Clock, backing: Backing | None = None, timings: Timings | None = None) -> None:
        self.clock = clock
        self.backing: Backing = backing or NoBacking()
        self.timings = timings or Timings()
        self.account_key = "rpa_ACCOUNT" + secrets.token_hex(16)
        self.cards = default_catalog()
        self.pods: dict[str, FakePod] = {}
        self.ended: dict[str, str] = {}
        self.balance = 25.0
        self.network_volumes: dict[str, str] = {"vol-eu": "EU-RO-1"}
        #: The next pods to be created never start.
        self.stuck_next = 0
        #: Polls after a restart in which the old port is still told.
        self.stale_polls = 0
        #: GPUs that a resumed pod gets: None for all, 0 for the well-known surprise.
        self.resume_gpus: int | None = None
        self.machine_full = False
        self.forbidden_clouds: set[str] = set()
        self.no_disk_space = False
        self.page_size: int | None = None
        #: Who logs in: a test's sshd lets in its own user only.
        self.ssh_user = getpass.getuser()
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._up: set[str] = set()
        self._settled = clock.now()

    # Life

    def create(self, wanted: Wanted) -> FakePod:
        with self.lock:
            self.settle()
            card = self.card(wanted.gpu)
            self._refuse(wanted, card)
            data_center = self._place(wanted, card)
            now = self.clock.now()
            pod = FakePod(
                id=secrets.token_hex(7), wanted=wanted, card=card, data_center=data_center, created=now,
                started=now, api_key="rpa_POD" + secrets.token_hex(16), public_port=0, gpu_count=wanted.count,
            )  # fmt: skip
            pod.public_port = self.backing.port(pod)
            if self.stuck_next:
                self.stuck_next -= 1
                pod.stuck = True
            self.pods[pod.id] = pod
            self._log(pod, "system", f"create container {wanted.image}")
            return pod

    def stop(self, pod: FakePod) -> None:
        with self.lock:
            pod.desired = "EXITED"
            self._release(pod)
            self._down(pod, wipe=False)

    def resume(self, pod: FakePod) -> None:
        with self.lock:
            self.settle()
            place = (pod.wanted.cloud, pod.data_center)
            if self.machine_full or pod.card.free[place] < pod.wanted.count:
                raise Refusal(400, NO_FREE_GPUS)
            pod.gpu_count = pod.wanted.count if self.resume_gpus is None else self.resume_gpus
            pod.card.free[place] -= pod.gpu_count
            pod.desired, pod.started = "RUNNING", self.clock.now()
            pod.boots += 1
            pod.old_port, pod.stale_polls = pod.public_port, self.stale_polls
            pod.public_port = self.backing.port(pod)
            self._log(pod, "system", "start container")

    def terminate(self, pod: FakePod, why: str = "asked") -> None:
        with self.lock:
            if pod.desired == "RUNNING":
                self._release(pod)
            pod.desired = "TERMINATED"
            self._down(pod, wipe=True)
            self.pods.pop(pod.id, None)
            self.ended[pod.id] = why

    def get(self, pod_id: str) -> FakePod | None:
        with self.lock:
            self.settle()
            return self.pods.get(pod_id)

    def all(self) -> list[FakePod]:
        with self.lock:
            self.settle()
            return list(self.pods.values())

    def settle(self) -> None:
        """Do what has come due: money spent, deadlines, sshds that start."""
        with self.lock:
            now = self.clock.now()
            hours = (now - self._settled) / 3600
            self._settled = now
            self.balance -= hours * sum(pod.cost_per_h for pod in self.pods.values())
            for pod in list(self.pods.values()):
                if self.balance <= 0:
                    self.balance = min(0.0, self.balance)
                    self._out_of_money(pod)
                elif pod.wanted.terminate_after is not None and now >= pod.wanted.terminate_after:
                    self.terminate(pod, "terminateAfter")
                elif self._ssh_due(pod, now):
                    self._bring_up(pod)

    def reclaim(self, pod: FakePod) -> None:
        """Take a spot pod back, as the provider does when somebody pays more."""
        self._log(pod, "system", "SIGTERM; SIGKILL follows in 5 s")
        self.stop(pod)

    # What is told of a pod

    def age(self, pod: FakePod) -> float:
        return self.clock.now() - pod.started

    def status(self, pod: FakePod) -> str:
        if pod.desired != "RUNNING":
            return pod.desired
        t, age = self.timings, self.age(pod)
        if pod.stuck or age < t.pull:
            return "PROVISIONING"
        return "STARTING" if age < t.pull + t.boot else "RUNNING"

    def ssh_port(self, pod: FakePod) -> int | None:
        """The mapped port of 22/tcp, when it is told; after a restart the old one for a few polls."""
        with self.lock:
            if pod.desired != "RUNNING" or "22/tcp" not in pod.wanted.ports:
                return None
            if pod.stale_polls > 0 and pod.old_port:
                pod.stale_polls -= 1
                return pod.old_port
            t = self.timings
            if pod.stuck or self.age(pod) < t.pull + t.boot + t.ports:
                return None
            return pod.public_port

    def card(self, gpu: str) -> Card:
        for card in self.cards:
            if card.id == gpu:
                return card
        raise Refusal(400, UNKNOWN_GPU)

    def key_of(self, key: str) -> str | None:
        """Return "account", the id of the pod that the key belongs to, or None."""
        if key == self.account_key:
            return "account"
        return next((pod.id for pod in self.pods.values() if pod.api_key == key), None)

    # Inside

    def _refuse(self, wanted: Wanted, card: Card) -> None:
        price = card.price(wanted.cloud)
        if wanted.cloud in self.forbidden_clouds:
            raise Refusal(403, "access denied")
        if wanted.disk_gb is None:
            raise Refusal(400, MISSING_DISK)
        if price is None or wanted.count > card.max_count:
            raise Refusal(400, NO_INSTANCES)
        if self.balance < price * wanted.count:
            raise Refusal(402, NO_CREDIT)
        if self.no_disk_space:
            raise Refusal(400, NO_DISK_SPACE)
        if wanted.min_cuda and _version(wanted.min_cuda) > _version(HOST_CUDA):
            raise Refusal(400, BAD_CUDA)

    def _place(self, wanted: Wanted, card: Card) -> str:
        allowed = set(wanted.data_centers)
        if wanted.network_volume:
            home = self.network_volumes.get(wanted.network_volume)
            if home is None:
                raise Refusal(400, "network volume not found")
            allowed = {home}
        for (cloud, data_center), free in card.free.items():
            fits = cloud == wanted.cloud and free >= wanted.count
            if fits and (not allowed or data_center in allowed):
                card.free[(cloud, data_center)] -= wanted.count
                return data_center
        raise Refusal(400, NO_INSTANCES)

    def _release(self, pod: FakePod) -> None:
        pod.card.free[(pod.wanted.cloud, pod.data_center)] += pod.gpu_count

    def _out_of_money(self, pod: FakePod) -> None:
        if pod.wanted.network_volume:
            if pod.desired == "RUNNING":
                self.stop(pod)
        else:
            self.terminate(pod, "balance")

    def _ssh_due(self, pod: FakePod, now: float) -> bool:
        t = self.timings
        ready = pod.started + t.pull + t.boot + t.ports + t.sshd
        return pod.desired == "RUNNING" and not pod.stuck and pod.id not in self._up and now >= ready

    def _bring_up(self, pod: FakePod) -> None:
        self._up.add(pod.id)
        for line in self.backing.up(pod):
            self._log(pod, "container", line)

    def _down(self, pod: FakePod, wipe: bool) -> None:
        self._up.discard(pod.id)
        self.backing.down(pod, wipe)
        self.changed.notify_all()

    def _log(self, pod: FakePod, source: str, line: str) -> None:
        with self.lock:
            pod.log.append((self.clock.now(), source, line))
            self.changed.notify_all()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
