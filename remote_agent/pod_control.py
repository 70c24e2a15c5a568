"""End or stop the pod that we run on, with the key that RunPod gave to the pod itself.

The key works for this pod alone; it is read from the environment of pid 1 when it is needed and kept nowhere.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import remote_agent

#: Where RunPod's images keep the pod's variables for interactive shells.
EXPORTS = Path("/etc/rp_environment")
API = "https://api.runpod.io"
REQUEST_LIMIT_S = 30.0
#: Cloudflare answers 403 (error code 1010) to the default one of urllib.
USER_AGENT = f"finetui/{remote_agent.VERSION}"
#: Variables that tests set; both are passed on to the guard's process.
OVERRIDES = ("FINETUI_POD_ENVIRON", "FINETUI_RUNPOD_API")
_REFUSALS = (400, 409, 422)
_RUNPODCTL = {
    "stop": (("pod", "stop"), ("stop", "pod")),
    "terminate": (("pod", "delete"), ("remove", "pod")),
}


class PodError(Exception):
    """The pod could not be told; the text says why and holds no secret.

    ``refused`` when RunPod understood and does not do it, so that asking again is of no use.
    """

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


@dataclass(frozen=True)
class PodControl:
    """This pod's own id and key; empty where this is no pod of RunPod's."""

    pod: str
    key: str = field(repr=False)
    api: str = API

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> PodControl:
        """Read pid 1's environment: a session over SSH does not have the pod's variables."""
        given = environ.get("FINETUI_POD_ENVIRON")
        found = _environ(Path(given or "/proc/1/environ"))
        if not given and not {"RUNPOD_POD_ID", "RUNPOD_API_KEY"} <= found.keys():
            found = {**environ, **_exports(EXPORTS), **found}
        pod, key = found.get("RUNPOD_POD_ID", ""), found.get("RUNPOD_API_KEY", "")
        return cls(pod, key, environ.get("FINETUI_RUNPOD_API") or API)

    def check(self) -> str:
        """Ask RunPod about ourselves; return "" when we may act, else why not."""
        if not self.pod or not self.key:
            return "this machine is no RunPod pod: RUNPOD_POD_ID or RUNPOD_API_KEY is not set for pid 1"
        try:
            self._request("GET", f"/v2/pods/{self.pod}")
        except PodError as error:
            return str(error)
        return ""

    def act(self, action: str) -> str:
        """Stop or terminate this pod; return how it was asked for, raises PodError."""
        if not self.pod or not self.key:
            raise PodError("this machine does not know its pod id or has no key")
        try:
            self._request("POST", f"/v2/pods/{self.pod}/action", {"action": action})
        except PodError as error:
            self._runpodctl(action, error)
            return "runpodctl"
        return "REST v2"

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        # They cost agentd a tenth of its start, and few agents ever ask.
        import urllib.error
        import urllib.request

        request = urllib.request.Request(
            self.api.rstrip("/") + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.key}",
                "Content-Type": "application/json",
                "User-Agent": USER_AGENT,
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_LIMIT_S) as reply:
                reply.read(65536)
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace").replace(self.key, "[secret]")
            refused = error.code in _REFUSALS
            raise PodError(f"RunPod answered {error.code}: {_detail(said)}", refused=refused) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise PodError(f"RunPod can't be reached: {reason}") from None

    def _runpodctl(self, action: str, first: PodError) -> None:
        """Ask through the program that is in RunPod's images, by its new and its old words."""
        program = shutil.which("runpodctl")
        if program is None:
            raise first
        for words in _RUNPODCTL[action]:
            try:
                done = subprocess.run(
                    [program, *words, self.pod],
                    capture_output=True, timeout=REQUEST_LIMIT_S, check=False, stdin=subprocess.DEVNULL,
                    env={"PATH": "/usr/bin:/bin", "HOME": "/tmp", "RUNPOD_API_KEY": self.key},
                )  # fmt: skip
            except (OSError, subprocess.SubprocessError):
                continue
            if done.returncode == 0:
                return
        raise PodError(f"{first}; runpodctl failed too", refused=first.refused)


def _environ(path: Path) -> dict[str, str]:
    try:
        text = path.read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def _exports(path: Path) -> dict[str, str]:
    """Read lines of ``export NAME="value"``; one that is not whole is left out."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        try:
            words = shlex.split(line)
        except ValueError:
            continue
        if len(words) == 2 and words[0] == "export" and "=" in words[1]:
            name, _, value = words[1].partition("=")
            found[name] = value
    return found


def _detail(said: str) -> str:
    try:
        document = json.loads(said)
    except ValueError:
        return said[:200]
    detail = document.get("detail") or document.get("title") if isinstance(document, dict) else None
    return str(detail or said)[:200]
