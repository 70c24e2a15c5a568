"""Getting one pod placed, exactly one, whatever the provider's answers are worth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tui.clouds.base import Cloud, Pod, PodRequest
from tui.clouds.errors import Ambiguous
from tui.errors import FinetuiError, RemoteError

#: When a pod of an unanswered create is looked for, in seconds after one another.
LOOKUPS_S = (2.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True)
class Time:
    """The monotonic clock and the way to wait, in seconds."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep


def place(
    cloud: Cloud,
    request: PodRequest,
    time: Time,
    known: frozenset[str] = frozenset(),
    on_doubt: Callable[[], None] = lambda: None,
) -> Pod:
    """Rent the pod of ``request``; one whose create got no clear answer is looked up by its marker.

    Only when the provider has listed the account's pods again and again without it is it asked for a second
    time. ``known`` are pods of the same marker that were given up before; ``on_doubt`` is called when a pod
    may have been made that is not known. Raises what `Cloud.create` raises.
    """
    for last in (False, True):
        try:
            return cloud.create(request)
        except Ambiguous as doubt:
            on_doubt()
            found = _look_up(cloud, request.marker, time, known, doubt)
            if found is not None:
                return found
            if last:
                raise
    raise AssertionError


def with_marker(cloud: Cloud, marker: str) -> list[Pod]:
    """Return the pods made with ``marker`` that are not gone."""
    return [pod for pod in cloud.list() if pod.marker == marker and pod.state != "gone"]


def hand_back(cloud: Cloud, marker: str, keep: str = "") -> None:
    """End every pod with ``marker`` but ``keep``, late twins of an unanswered create among them.

    Raises RemoteError naming the pods that may still be billed.
    """
    try:
        left = [pod for pod in with_marker(cloud, marker) if pod.id != keep]
    except FinetuiError as error:
        raise _may_be_billed(f"a pod named finetui-*-{marker}", error) from error
    for pod in left:
        end(cloud, pod.id)


def end(cloud: Cloud, pod: str) -> None:
    """Terminate a pod; raises RemoteError that says that it may still be billed."""
    try:
        cloud.terminate(pod)
    except FinetuiError as error:
        raise _may_be_billed(f"pod {pod}", error) from error


def _look_up(cloud: Cloud, marker: str, time: Time, known: frozenset[str], doubt: Ambiguous) -> Pod | None:
    for pause_s in LOOKUPS_S:
        time.wait(pause_s)
        try:
            found = [pod for pod in with_marker(cloud, marker) if pod.id not in known]
        except FinetuiError as error:
            raise Ambiguous(
                doubt.message, cause=f"{doubt.cause}; {error.message}", remedy=doubt.remedy
            ) from error
        if found:
            return found[0]
    return None


def _may_be_billed(what: str, error: FinetuiError) -> RemoteError:
    return RemoteError(
        f"{what} could not be handed back and may still be billed",
        cause=str(error),
        remedy="see finetui pods list; end it with finetui pods terminate POD, or in the provider's console",
    )
