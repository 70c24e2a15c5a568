"""A deadline that needs no laptop: the pod's first process ends the pod with the pod's own key.

REST v2 can't be told when to end a pod. The loop runs from the container's first second, before sshd and
before our agent; it counts by the wall clock, so a restarted container does not gain time. The pod's key
reaches curl by its standard input, never in a command line.
"""

from __future__ import annotations

import base64

_SCRIPT = """\
until [ "$(date +%s)" -ge {deadline} ]; do sleep {pause}; done
until printf 'header = "Authorization: Bearer %s"\\n' "$RUNPOD_API_KEY" |
  curl -fsS -K - -X DELETE "{base}/v2/pods/$RUNPOD_POD_ID"
do sleep {pause}; done
"""
PAUSE_S = 20
#: The start script of RunPod's own images: sshd, and everything else that the image's CMD would run.
START = "/start.sh"


def container_arguments(terminate_after: float, base: str, pause_s: int = PAUSE_S) -> str:
    """Return the container's command: the watch in the background, then the image's own start.

    In base64, because nobody documents how the provider splits quotes.
    """
    script = _SCRIPT.format(deadline=int(terminate_after), base=base, pause=pause_s)
    encoded = base64.b64encode(script.encode()).decode("ascii")
    return f"bash -c 'echo {encoded} | base64 -d | bash & exec {START}'"
