"""SSH to a pod: its address asked for at each connect, its host key checked against the pod's own log."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace

from tui.clouds.base import Cloud, Endpoint, Pod
from tui.errors import FinetuiError, Unreachable
from tui.operations.rent_keys import find_key
from tui.remote import ssh
from tui.remote.known_hosts import forget
from tui.remote.ssh_ask import Ask, HostKeyQuestion
from tui.remote.ssh_host_keys import HostKeyProblem, own_known_hosts

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
#: Lines of a start script come in one burst; a log that stays silent for this long has said what it has.
LOG_QUIET_S = 5.0


class PodGone(Unreachable):
    """There is no such pod any more."""


def connect_pod(cloud: Cloud, pod_id: str, ask: Ask) -> ssh.SshMachine:
    """Connect and log in to a pod with its own key.

    The host key is kept under the pod's id, for addresses are given to others. A key that is new is accepted
    when the pod's log, which comes over the provider's TLS, shows its fingerprint; else the user is asked.
    Raises PodGone, HostKeyProblem, and Unreachable for what may pass.
    """
    pod = cloud.get(pod_id)
    endpoint = _endpoint(cloud, pod_id, pod)
    assert pod is not None
    alias = host_key_name(cloud, pod_id)
    identity = find_key(pod.marker)
    checked = replace(ask, host_key=lambda question: _vouched(cloud, pod_id, question, ask))
    try:
        return ssh.connect(str(endpoint), checked, host_key_alias=alias, identity=identity)
    except HostKeyProblem as problem:
        # Each start of a container makes new host keys: the log of this start says whether this is one.
        if not problem.changed or problem.fingerprint not in log_fingerprints(
            cloud, pod_id, until=problem.fingerprint
        ):
            raise
    forget_host_key(cloud, pod_id)
    return ssh.connect(str(endpoint), checked, host_key_alias=alias, identity=identity)


def host_key_name(cloud: Cloud, pod_id: str) -> str:
    """Return the name under which the pod's host key is kept."""
    return f"{cloud.name}-{pod_id}".lower()


def forget_host_key(cloud: Cloud, pod_id: str) -> None:
    """Drop the pin of a pod that is gone or was started anew."""
    with contextlib.suppress(OSError):
        forget(own_known_hosts(), host_key_name(cloud, pod_id))


def log_fingerprints(cloud: Cloud, pod_id: str, until: str) -> set[str]:
    """Return the host key fingerprints in a pod's log up to ``until``; none where there is no log."""
    shown: set[str] = set()
    try:
        for line in cloud.logs(pod_id, LOG_QUIET_S):
            shown.update(_FINGERPRINT.findall(line))
            if until in shown:
                break
    except FinetuiError:
        return set()
    return shown


def _vouched(cloud: Cloud, pod_id: str, question: HostKeyQuestion, ask: Ask) -> bool:
    shown = log_fingerprints(cloud, pod_id, until=question.fingerprint)
    if not shown:
        return ask.host_key(question)
    if question.fingerprint in shown:
        return True
    raise HostKeyProblem(
        f"the machine that answers for pod {pod_id} is not the pod",
        cause=f"it presents {question.key_type} {question.fingerprint}, "
        f"the pod's log shows {', '.join(sorted(shown))}",
        remedy="do not connect; terminate the pod and rent another, and tell the provider",
        fingerprint=question.fingerprint,
        changed=False,
    )


def _endpoint(cloud: Cloud, pod_id: str, pod: Pod | None) -> Endpoint:
    if pod is None or pod.state == "gone":
        raise PodGone(
            f"pod {pod_id} is gone",
            cause="it was terminated, by its deadline, by hand, or by the provider",
            remedy="rent another: finetui pods create",
        )
    if pod.state == "stopped":
        raise Unreachable(
            f"pod {pod_id} is stopped", remedy=f"start it: finetui pods resume {pod_id}, or rent another"
        )
    if pod.endpoint is None:
        raise Unreachable(
            f"pod {pod_id} has no address yet",
            cause=f"{cloud.name} says that it is {pod.state}",
            remedy="wait a minute; without one after six minutes its machine is bad: rent another",
        )
    return pod.endpoint
