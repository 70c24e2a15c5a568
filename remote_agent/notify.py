"""Tell somebody that a run has ended: a webhook, or a topic of ntfy.

The address counts as a secret: who has it can write there. It comes with the secrets of a launch, is kept in
the supervisor's memory only, and is never given to the job.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import remote_agent

if TYPE_CHECKING:
    # Half of the time that a supervisor needs to start, and few runs notify anybody.
    import urllib.request

URL_SECRET = "FINETUI_NOTIFY_URL"
#: In all; a supervisor with nothing else to do need not wait longer.
LIMIT_S = 10.0
KINDS = ("webhook", "ntfy")
_TAGS = {"finished": "white_check_mark", "stopped": "black_square_for_stop"}


def send(kind: str, url: str, message: Mapping[str, Any], *, limit_s: float = LIMIT_S) -> str:
    """Send it; return "" when it was taken, else why not, without the address. Takes at most ``limit_s``."""
    try:
        request = _request(kind, url, message)
    except ValueError:
        return "its address is no http or https URL"
    said = ["no answer in time"]

    def ask() -> None:
        said[0] = _ask(request, limit_s)

    # The limit of a socket is for each of its operations; a server that drips bytes must not hold us.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(limit_s)
    return said[0]


def _ask(request: urllib.request.Request, limit_s: float) -> str:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(request, timeout=limit_s):
            return ""
    except urllib.error.HTTPError as error:
        return f"the server answered {error.code}"
    except urllib.error.URLError as error:
        return f"the server can't be reached: {getattr(error.reason, 'strerror', None) or 'no connection'}"
    except (OSError, ValueError) as error:
        return f"the server broke off: {type(error).__name__}"


def _request(kind: str, url: str, message: Mapping[str, Any]) -> urllib.request.Request:
    import urllib.parse
    import urllib.request

    address = urllib.parse.urlsplit(url)
    if address.scheme == "ntfy":
        kind, url = "ntfy", urllib.parse.urlunsplit(address._replace(scheme="https"))
    elif address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError("not http")
    headers = {"User-Agent": f"finetui/{remote_agent.VERSION}"}
    if kind == "ntfy":
        headers["Title"] = _ascii(f"{message['run']} {message['state']}")
        headers["Tags"] = _TAGS.get(message["state"], "warning")
        data = summary(message).encode()
    else:
        headers["Content-Type"] = "application/json"
        data = json.dumps(message, allow_nan=False).encode()
    return urllib.request.Request(url, data=data, headers=headers, method="POST")


def summary(message: Mapping[str, Any]) -> str:
    """Return one line for people."""
    parts = [f"{message['preset'] or message['kind']} {message['state']}"]
    if message.get("step") is not None and message.get("total") is not None:
        parts.append(f"step {message['step']}/{message['total']}")
    if message.get("loss") is not None:
        parts.append(f"loss {message['loss']:.4g}")
    if message.get("duration_s") is not None:
        parts.append(f"after {message['duration_s'] / 60:.0f} min")
    if message.get("message"):
        parts.append(str(message["message"]))
    return ", ".join(parts)


def _ascii(text: str) -> str:
    """Return what a header may hold."""
    return text.encode("ascii", "replace").decode().replace("\r", " ").replace("\n", " ")
