"""A pod on its way from rented to ready: its stages, a limit for each, and what is told meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tui.clouds.base import Cloud, Pod
from tui.clouds.errors import CloudUnreachable
from tui.errors import RemoteError, Unreachable
from tui.operations.rent_place import Time
from tui.operations.rent_ssh import PodGone, connect_pod
from tui.remote.ssh_ask import Ask
from tui.remote.ssh_host_keys import HostKeyProblem

#: Seconds that a pod may spend in each stage. Pulling 8.5 GB takes minutes on a slow host; no address six
#: minutes after that means a bad machine (the provider's advice); sshd is refused for up to 90 s.
LIMITS_S = {"renting": 180.0, "pulling": 900.0, "starting": 360.0, "ssh": 240.0, "agent": 180.0}
STAGES = tuple(LIMITS_S)
POLL_S = 3.0


@dataclass(frozen=True)
class Progress:
    """Where a pod is; ``what`` is asked for, times in seconds. ``note`` is something that happened, once."""

    stage: str
    what: str
    pod: str = ""
    elapsed_s: float = 0.0
    limit_s: float = 0.0
    note: str = ""


Report = Callable[[Progress], None]
#: Connects to the agent of a target and lets go of it again.
Reach = Callable[[str, Ask], None]


class BadHost(Exception):
    """This machine will not do; another one may."""


@dataclass(frozen=True)
class Stages:
    """How to watch pods become ready."""

    cloud: Cloud
    ask: Ask
    report: Report
    reach: Reach
    time: Time

    def until_ready(self, pod: Pod, what: str) -> Pod:
        """Return the pod once its agent answers.

        Raises BadHost when a stage takes longer than its limit, RemoteError when somebody ended the pod, and
        HostKeyProblem.
        """
        self._until_address(pod, what)
        self._repeat("ssh", pod, what, lambda: connect_pod(self.cloud, pod.id, self.ask).close())
        target = f"{self.cloud.name}:{pod.id}"
        self._repeat("agent", pod, what, lambda: self.reach(target, self.ask))
        return self._news(pod) or pod

    def tell(self, stage: str, what: str, pod: str = "", elapsed_s: float = 0.0) -> None:
        """Report where a pod is."""
        self.report(Progress(stage, what, pod, elapsed_s, LIMITS_S[stage]))

    def note(self, stage: str, what: str, note: str) -> None:
        """Report something that happened."""
        self.report(Progress(stage, what, note=note))

    def _until_address(self, pod: Pod, what: str) -> None:
        stage, since, last = "pulling", self.time.now(), pod
        while True:
            now = self._news(last)
            if now is None or now.state in ("gone", "stopped"):
                raise _ended(pod, "stopped" if now and now.state == "stopped" else "ended")
            if now.endpoint is not None:
                return
            if now.state == "failed":
                raise BadHost("its container failed to start")
            last, reached = now, "pulling" if now.state == "renting" else "starting"
            if reached != stage:
                stage, since = reached, self.time.now()
            self._check_limit(stage, since, pod, what)
            self.time.wait(POLL_S)

    def _news(self, last: Pod) -> Pod | None:
        """What the provider says now; while it does not answer, what it said last."""
        try:
            return self.cloud.get(last.id)
        except CloudUnreachable:
            return last

    def _repeat(self, stage: str, pod: Pod, what: str, step: Callable[[], None]) -> None:
        since = self.time.now()
        while True:
            self.tell(stage, what, pod.id, self.time.now() - since)
            try:
                return step()
            except HostKeyProblem:
                raise
            except PodGone as error:
                raise _ended(pod, "ended") from error
            except Unreachable as error:
                self._check_limit(stage, since, pod, what, error.cause or error.message)
            self.time.wait(POLL_S)

    def _check_limit(self, stage: str, since: float, pod: Pod, what: str, why: str = "") -> None:
        elapsed_s = self.time.now() - since
        self.tell(stage, what, pod.id, elapsed_s)
        if elapsed_s > LIMITS_S[stage]:
            reason = f" ({why})" if why else ""
            raise BadHost(f"{stage} took more than {LIMITS_S[stage]:.0f} s on {what}{reason}")


def _ended(pod: Pod, how: str) -> RemoteError:
    return RemoteError(
        f"pod {pod.id} was {how} while it was starting",
        cause="by hand, by its deadline, or by the provider for want of credit",
        remedy="see the provider's console, then rent again",
    )
