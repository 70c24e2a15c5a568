"""A RunPod of our own: REST v2, GraphQL and log streams over one store, pods backed by real sshds."""

from tests.fakes.runpod.clock import ManualClock, RealClock
from tests.fakes.runpod.server import Fault, RunPodServer
from tests.fakes.runpod.store import Card, FakePod, Store, Timings

__all__ = ["Card", "FakePod", "Fault", "ManualClock", "RealClock", "RunPodServer", "Store", "Timings"]
