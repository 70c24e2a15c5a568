"""Pods that answer: each has a real sshd, a root folder, a host key per boot and its own processes."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil

from tests.fakes.runpod.store import FakePod
from tests.fakes.sshd import PrivateSshd, make_key


class SshdBacking:
    """One folder per pod under ``root``: ``disk`` is wiped by a stop, ``workspace`` by a terminate.

    The pod's root user is the user of the tests; ``pid1_env`` is written to ``disk/pid1_env`` only.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        #: More variables of every SSH session, such as FINETUI_RUNPOD_API for the guard.
        self.env: dict[str, str] = {}
        self.running: dict[str, PrivateSshd] = {}
        self._next: dict[str, PrivateSshd] = {}

    def folder(self, pod: FakePod) -> Path:
        return self.root / pod.id

    def port(self, pod: FakePod) -> int:
        folder = self.folder(pod)
        disk, workspace = folder / "disk", folder / "workspace"
        disk.mkdir(parents=True, exist_ok=True)
        workspace.mkdir(exist_ok=True)
        sshd = PrivateSshd(
            disk / f"sshd-{pod.boots}",
            env={
                "FINETUI_STATE_DIR": str(workspace / ".finetui"),
                "FINETUI_RUNTIME_DIR": str(_runtime_dir(pod.id)),
                "FINETUI_POD_ENVIRON": str(disk / "pid1_env"),
                **self.env,
            },
        )
        self._next[pod.id] = sshd
        return sshd.port

    def up(self, pod: FakePod) -> list[str]:
        """Start sshd with the pod's PUBLIC_KEY and return what /start.sh prints of its host keys."""
        sshd = self.running[pod.id] = self._next.pop(pod.id)
        (sshd.folder.parent / "pid1_env").write_text(
            "\0".join(f"{key}={value}" for key, value in pod.pid1_env.items())
        )
        key = pod.env.get("PUBLIC_KEY", "")
        sshd.authorized_keys.write_text(key + "\n" if key else "")
        sshd.start()
        return ["Pod Started", *(fingerprint(path) for path in sshd.host_keys)]

    def down(self, pod: FakePod, wipe: bool) -> None:
        sshd = self.running.pop(pod.id, None)
        if sshd is not None:
            sshd.stop()
        folder = self.folder(pod)
        _kill_all_of(folder)
        shutil.rmtree(folder if wipe else folder / "disk", ignore_errors=True)
        shutil.rmtree(_runtime_dir(pod.id), ignore_errors=True)

    def change_host_key(self, pod: FakePod) -> None:
        """Put another machine in the pod's place: same address, same logins, another host key."""
        sshd = self.running[pod.id]
        sshd.stop()
        sshd.host_keys = [make_key(sshd.folder / "another_host_key")]
        sshd.start()

    def close(self) -> None:
        for name, sshd in list(self.running.items()):
            sshd.stop()
            _kill_all_of(self.root / name)
            shutil.rmtree(_runtime_dir(name), ignore_errors=True)
        self.running.clear()


def _runtime_dir(pod_id: str) -> Path:
    """A short path: names of sockets may have 107 bytes, and pytest's folders take most of them."""
    return Path(tempfile.gettempdir()) / f"fake-pod-{pod_id}"


def fingerprint(private: Path) -> str:
    """Return the line that ``ssh-keygen -lf`` prints of a key."""
    public = str(private.with_name(private.name + ".pub"))
    return subprocess.run(
        ["ssh-keygen", "-lf", public], check=True, capture_output=True, text=True
    ).stdout.strip()


def _kill_all_of(folder: Path) -> None:
    """End every process of the pod: those whose environment names its folder, as a container's end would."""
    mark = str(folder)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if mark in process.environ().get("FINETUI_STATE_DIR", ""):
                process.kill()
