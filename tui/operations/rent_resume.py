"""Starting a stopped pod again: a new deadline, new host keys, the same stages as at its rent."""

from __future__ import annotations

from tui.clouds.base import Cloud, Pod
from tui.errors import CostGuardRefused, InvalidInput, RemoteError
from tui.operations import rent_deadline
from tui.operations.rent_ssh import forget_host_key
from tui.operations.rent_stages import BadHost, Stages
from tui.operations.rent_wish import MIN_HOURS


def resume(cloud: Cloud, pod: Pod, terminate_after: float, now: float, stages: Stages) -> Pod:
    """Start ``pod`` and return it once its agent answers; it ends at ``terminate_after`` (epoch seconds).

    Raises InvalidInput for a pod that is not ours, CostGuardRefused for under one hour, NoCapacity when its
    machine has no free GPU, and RemoteError when it does not come up; then, as at an interrupt, it is
    stopped again.
    """
    if not pod.marker:
        raise InvalidInput(
            f"pod {pod.id} was not rented with finetui",
            remedy="start it in the provider's console, and give it to --on by its address",
        )
    if terminate_after - now < MIN_HOURS * 3600:
        raise CostGuardRefused(
            "a deadline under one hour from now; nothing was started", remedy="allow at least --hours 1"
        )
    forget_host_key(cloud, pod.id)
    resumed = cloud.resume(pod.id, terminate_after)
    rent_deadline.keep(pod.marker, terminate_after)
    if resumed.count == 0:
        raise RemoteError(
            f"pod {pod.id} was started without a GPU",
            cause="its GPUs are rented to others; the provider starts it all the same, for its data",
            remedy=f"copy what you need, then: finetui pods terminate {pod.id}",
        )
    try:
        return stages.until_ready(resumed, f"pod {pod.name}")
    except BadHost as bad:
        cloud.stop(pod.id)
        raise RemoteError(
            f"pod {pod.id} did not come up and was stopped again",
            cause=str(bad),
            remedy="try again later; its volume is kept, and billed, until finetui pods terminate",
        ) from bad
    except BaseException:
        cloud.stop(pod.id)
        raise
