"""From a wish to a pod whose agent answers, in stages with a limit each; nothing is left billed behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tui.clouds.base import Cloud, Pod, PodRequest
from tui.clouds.errors import Forbidden, NoCapacity, Rejected
from tui.errors import CostGuardRefused, FinetuiError, RemoteError
from tui.operations import rent_deadline
from tui.operations.rent_keys import forget_key, make_key
from tui.operations.rent_place import Time, end, hand_back, place
from tui.operations.rent_ssh import forget_host_key
from tui.operations.rent_stages import BadHost, Reach, Report, Stages
from tui.operations.rent_wish import MIN_HOURS, Candidate, Wish, hours_of
from tui.remote.ssh_ask import Ask

#: Hosts tried for one candidate before the next one.
HOSTS_PER_CANDIDATE = 2


@dataclass(frozen=True)
class Rented:
    """A pod that is ready; it ends by itself at ``terminate_after`` (epoch seconds)."""

    pod: Pod
    candidate: Candidate
    terminate_after: float


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
    stages = Stages(cloud, ask, report, reach, clock or Time())
    renting = _Renting(cloud, wish, stages, wall_clock, make_key(wish.marker))
    try:
        rented = renting.walk(affordable)
    except BaseException:
        if renting.may_have_made:
            stages.note("renting", wish.name, "handing back what was rented")
            hand_back(cloud, wish.marker)
        forget_key(wish.marker)
        raise
    try:
        hand_back(cloud, wish.marker, keep=rented.pod.id)
    except RemoteError as error:
        stages.note("agent", wish.name, str(error))
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
    stages: Stages
    wall_clock: Callable[[], float]
    public_key: str
    given_up: set[str] = field(default_factory=set)
    #: False only while it is certain that the provider has made nothing.
    may_have_made: bool = False
    in_doubt: bool = False

    def walk(self, candidates: Sequence[Candidate]) -> Rented:
        refusals: list[FinetuiError] = []
        for candidate in candidates:
            for _ in range(HOSTS_PER_CANDIDATE):
                try:
                    return self._one(candidate)
                except (NoCapacity, Forbidden, Rejected) as error:
                    refusals.append(error)
                    self.stages.note("renting", str(candidate), error.cause or error.message)
                    break
                except BadHost as bad:
                    refusals.append(RemoteError(str(bad)))
        raise _nothing_rented(candidates, refusals)

    def _one(self, candidate: Candidate) -> Rented:
        deadline = self.wall_clock() + 3600 * hours_of(self.wish, candidate)
        self.stages.tell("renting", str(candidate))
        rent_deadline.keep(self.wish.marker, deadline)
        pod = self._placed(self._request(candidate, deadline))
        try:
            ready = self.stages.until_ready(pod, str(candidate))
        except BadHost as bad:
            self.given_up.add(pod.id)
            end(self.cloud, pod.id)
            forget_host_key(self.cloud, pod.id)
            note = f"{bad}: handed pod {pod.id} back, trying the next host"
            self.stages.note("renting", str(candidate), note)
            raise
        return Rented(ready, candidate, deadline)

    def _placed(self, request: PodRequest) -> Pod:
        before, self.may_have_made = self.may_have_made, True
        time, known = self.stages.time, frozenset(self.given_up)
        try:
            return place(self.cloud, request, time, known, self._doubt)
        except FinetuiError:
            self.may_have_made = before or self.in_doubt
            raise

    def _doubt(self) -> None:
        self.in_doubt = True

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
