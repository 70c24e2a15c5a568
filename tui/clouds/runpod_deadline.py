"""A deadline that needs no laptop: the pod's first process ends the pod with the pod's own key.

REST v2 can't be told when to end a pod. The loop runs from the container's first second, before sshd and
before our agent; it counts by the wall clock, so a restarted container does not gain time. A pod that was
started again after its deadline gets an hour and is stopped then, not ended: its volume is all that is left.
The pod's key reaches curl by its standard input, never in a command line.
"""

from __future__ import annotations

import base64

_SCRIPT = """\
ask() {{ printf 'header = "Authorization: Bearer %s"\\n' "$RUNPOD_API_KEY" | curl -fsS -K - "$@"; }}
pod="{base}/v2/pods/$RUNPOD_POD_ID"
if [ "$(date +%s)" -ge {deadline} ]; then
  sleep {grace}
  until ask -H 'Content-Type: application/json' -d '{{"action":"stop"}}' "$pod/action"; do sleep {pause}; done
  exit
fi
until [ "$(date +%s)" -ge {deadline} ]; do sleep {pause}; done
until ask -X DELETE "$pod"; do sleep {pause}; done
"""
PAUSE_S = 20
GRACE_S = 3600
#: The start script of RunPod's own images: sshd, and everything else that the image's CMD would run.
START = "/start.sh"


def container_arguments(
    terminate_after: float, base: str, pause_s: int = PAUSE_S, grace_s: int = GRACE_S
) -> str:
    """Return the container's command: the watch in the background, then the image's own start.

    In base64, because nobody documents how the provider splits quotes.
    """
    script = _SCRIPT.format(deadline=int(terminate_after), base=base, pause=pause_s, grace=grace_s)
    encoded = base64.b64encode(script.encode()).decode("ascii")
    return f"bash -c 'echo {encoded} | base64 -d | bash & exec {START}'"
