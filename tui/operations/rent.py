"""From a wish to a pod whose agent answers, in stages with a limit each; nothing is left billed behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tui.clouds.base import Cloud, Pod, PodRequest
from tui.clouds.errors import Ambiguous, CloudUnreachable, Forbidden, NoCapacity, Rejected
from tui.errors import CostGuardRefused, FinetuiError, RemoteError, Unreachable
from tui.operations.rent_keys import forget_key, make_key
from tui.operations.rent_place import Time, end, hand_back, place
from tui.operations.rent_ssh import connect_pod, forget_host_key
from tui.operations.rent_wish import MIN_HOURS, Candidate, Wish, hours_of
from tui.remote.ssh_ask import Ask
from tui.remote.ssh_host_keys import HostKeyProblem

#: Seconds that a pod may spend in each stage. Pulling 8.5 GB takes minutes on a slow host; no address six
#: minutes after that means a bad machine (the provider's advice); sshd is refused for up to 90 s.
LIMITS_S = {"renting": 180.0, "pulling": 900.0, "starting": 360.0, "ssh": 240.0, "agent": 180.0}
STAGES = tuple(LIMITS_S)
POLL_S = 3.0
#: Hosts tried for one candidate before the next one.
HOSTS_PER_CANDIDATE = 2


@dataclass(frozen=True)
class Progress:
    """Where renting is; seconds. ``note`` is something that happened, once."""

    stage: str
    candidate: Candidate
    pod: str = ""
    elapsed_s: float = 0.0
    limit_s: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Rented:
    """A pod that is ready; it ends by itself at ``terminate_after`` (epoch seconds)."""

    pod: Pod
    candidate: Candidate
    terminate_after: float


class _BadHost(Exception):
    """This machine will not do; another one may."""


Report = Callable[[Progress], None]
Reach = Callable[[str, Ask], None]


def rent(
    cloud: Cloud,
    wish: Wish,
    candidates: Sequence[Candidate],
    ask: Ask,
    report: Report,
    *,
    reach: Reach,
    clock: Time | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> Rented:
    """Rent the first candidate that can be had and wait until its agent answers.

    ``reach`` connects to the agent of a target. Whatever else happens, an interrupt included, every pod that
    was made on the way is handed back. Raises CostGuardRefused before anything is rented, NoCapacity with
    every candidate's reason, NoCredit, HostKeyProblem, and RemoteError when one could not be handed back.
    """
    affordable = _affordable(cloud, wish, candidates)
    renting = _Renting(cloud, wish, ask, report, reach, clock or Time(), wall_clock, make_key(wish.marker))
    try:
        rented = renting.walk(affordable)
    except BaseException:
        if renting.may_have_made:
            renting.note("renting", affordable[0], "handing back what was rented")
            hand_back(cloud, wish.marker)
        forget_key(wish.marker)
        raise
    try:
        hand_back(cloud, wish.marker, keep=rented.pod.id)
    except RemoteError as error:
        renting.note("agent", rented.candidate, str(error))
    return rented


def _affordable(cloud: Cloud, wish: Wish, candidates: Sequence[Candidate]) -> list[Candidate]:
    if not candidates:
        raise NoCapacity(
            "no card that was asked for is in stock",
            remedy="see finetui pods offers; name more cards, clouds or data centers",
        )
    cheapest = min(candidates, key=lambda candidate: candidate.price_per_h)
    if wish.hours < MIN_HOURS:
        raise CostGuardRefused(
            f"a deadline of {wish.hours:g} h is under one hour; nothing was rented",
            remedy="allow at least --hours 1: building the environment takes part of it",
        )
    left = [candidate for candidate in candidates if hours_of(wish, candidate) >= MIN_HOURS]
    if not left:
        raise CostGuardRefused(
            f"${wish.budget:.2f} pays for less than one hour; nothing was rented",
            cause=f"the cheapest is {cheapest}",
            remedy=f"allow at least --budget {cheapest.price_per_h * MIN_HOURS:.2f}, or a cheaper card",
        )
    balance = cloud.balance()
    if balance is not None and balance.dollars < cheapest.price_per_h * MIN_HOURS:
        raise CostGuardRefused(
            f"the account has ${balance.dollars:.2f}, less than one hour of any card; nothing was rented",
            cause=f"the cheapest is {cheapest}",
            remedy="add credit, or take a cheaper card",
        )
    return left


@dataclass
class _Renting:
    """One rent on its way."""

    cloud: Cloud
    wish: Wish
    ask: Ask
    report: Report
    reach: Reach
    time: Time
    wall_clock: Callable[[], float]
    public_key: str
    given_up: set[str] = field(default_factory=set)
    #: False only while it is certain that the provider has made nothing.
    may_have_made: bool = False

    def walk(self, candidates: Sequence[Candidate]) -> Rented:
        refusals: list[FinetuiError] = []
        for candidate in candidates:
            for _ in range(HOSTS_PER_CANDIDATE):
                try:
                    return self._one(candidate)
                except (NoCapacity, Forbidden, Rejected) as error:
                    refusals.append(error)
                    self.note("renting", candidate, error.cause or error.message)
                    break
                except _BadHost as bad:
                    refusals.append(RemoteError(str(bad)))
        raise _nothing_rented(candidates, refusals)

    def _one(self, candidate: Candidate) -> Rented:
        deadline = self.wall_clock() + 3600 * hours_of(self.wish, candidate)
        self._tell("renting", candidate)
        request = self._request(candidate, deadline)
        pod = self._placed(request)
        try:
            self._bring_up(pod, candidate)
        except _BadHost as bad:
            self.given_up.add(pod.id)
            end(self.cloud, pod.id)
            forget_host_key(self.cloud, pod.id)
            self.note("renting", candidate, f"{bad}: handed pod {pod.id} back, trying the next host")
            raise
        return Rented(self.cloud.get(pod.id) or pod, candidate, deadline)

    def _placed(self, request: PodRequest) -> Pod:
        before, self.may_have_made = self.may_have_made, True
        try:
            return place(self.cloud, request, self.time, frozenset(self.given_up))
        except Ambiguous:
            raise
        except FinetuiError:
            self.may_have_made = before
            raise

    def _request(self, candidate: Candidate, deadline: float) -> PodRequest:
        wish = self.wish
        return PodRequest(
            name=wish.name,
            marker=wish.marker,
            gpu=candidate.gpu,
            count=candidate.count,
            cloud=candidate.cloud,
            image=wish.image,
            container_disk_gib=wish.container_disk_gib,
            volume_gib=wish.volume_gib,
            public_key=self.public_key,
            terminate_after=deadline,
            data_centers=(candidate.data_center,) if candidate.data_center else (),
            network_volume=wish.network_volume,
            min_cuda=wish.min_cuda,
            spot_bid_per_h=candidate.spot_bid_per_h,
        )

    def _bring_up(self, pod: Pod, candidate: Candidate) -> None:
        self._until_address(pod, candidate)
        self._retried("ssh", pod, candidate, lambda: connect_pod(self.cloud, pod.id, self.ask).close())
        target = f"{self.cloud.name}:{pod.id}"
        self._retried("agent", pod, candidate, lambda: self.reach(target, self.ask))

    def _until_address(self, pod: Pod, candidate: Candidate) -> None:
        stage, since, last = "pulling", self.time.now(), pod
        while True:
            now = self._news(pod, last)
            if now is None or now.state in ("gone", "stopped"):
                raise RemoteError(
                    f"pod {pod.id} was {'stopped' if now else 'ended'} while it was starting",
                    cause="by hand, by its deadline, or by the provider for want of credit",
                    remedy="see the provider's console, then rent again",
                )
            if now.endpoint is not None:
                return
            if now.state == "failed":
                raise _BadHost("its container failed to start")
            last, reached = now, "pulling" if now.state == "renting" else "starting"
            if reached != stage:
                stage, since = reached, self.time.now()
            self._check_limit(stage, since, pod, candidate)
            self.time.wait(POLL_S)

    def _news(self, pod: Pod, last: Pod) -> Pod | None:
        """What the provider says now; while it does not answer, what it said last."""
        try:
            return self.cloud.get(pod.id)
        except CloudUnreachable:
            return last

    def _retried(self, stage: str, pod: Pod, candidate: Candidate, step: Callable[[], None]) -> None:
        since = self.time.now()
        while True:
            self._tell(stage, candidate, pod.id, self.time.now() - since)
            try:
                return step()
            except HostKeyProblem:
                raise
            except Unreachable as error:
                self._check_limit(stage, since, pod, candidate, error.cause or error.message)
            self.time.wait(POLL_S)

    def _check_limit(self, stage: str, since: float, pod: Pod, candidate: Candidate, why: str = "") -> None:
        elapsed_s = self.time.now() - since
        self._tell(stage, candidate, pod.id, elapsed_s)
        if elapsed_s > LIMITS_S[stage]:
            reason = f" ({why})" if why else ""
            raise _BadHost(f"{stage} took more than {LIMITS_S[stage]:.0f} s on {candidate}{reason}")

    def _tell(self, stage: str, candidate: Candidate, pod: str = "", elapsed_s: float = 0.0) -> None:
        self.report(Progress(stage, candidate, pod, elapsed_s, LIMITS_S[stage]))

    def note(self, stage: str, candidate: Candidate, note: str) -> None:
        self.report(Progress(stage, candidate, note=note))


def _nothing_rented(candidates: Sequence[Candidate], refusals: Sequence[FinetuiError]) -> FinetuiError:
    reasons = list(dict.fromkeys(error.cause or error.message for error in refusals))
    tried = ", ".join(map(str, candidates[:6])) + (" and more" if len(candidates) > 6 else "")
    if len(reasons) == 1 and all(isinstance(error, Rejected) for error in refusals):
        # A broken rule fails alike everywhere: more candidates would not have helped.
        return Rejected(
            "the provider does not accept the request; nothing was rented",
            cause=reasons[0],
            remedy="change what it names; an update of finetui may help too",
        )
    return NoCapacity(
        "none of the cards could be rented; nothing is left running",
        cause=f"tried {tried}: " + "; ".join(reasons),
        remedy="name more cards, clouds or data centers, or try again later: finetui pods offers",
    )
