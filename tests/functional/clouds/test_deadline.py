"""The deadline that the pod's own first process keeps, run as a container would run it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.fakes.runpod import Fault, RunPodServer, Store
from tests.fakes.waiting import wait_for
from tui.clouds.runpod_deadline import START, container_arguments
from tui.clouds.runpod_v2 import RunPodV2

assert shutil.which("curl"), "the pod's image has curl; this test needs it too"


def start(arguments: str, env: dict[str, str], tmp_path: Path) -> subprocess.Popen[bytes]:
    """Run a container's arguments with a start script of ours in the place of the image's."""
    script = tmp_path / "start.sh"
    script.write_text("#!/bin/sh\necho started > started\nexec sleep 60\n")
    script.chmod(0o755)
    words = shlex.split(arguments.replace(START, str(script)))
    return subprocess.Popen(
        words, cwd=tmp_path, env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", **env},
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize("trouble", ["", "502", "reset"])
def test_the_pod_ends_itself_with_its_own_key(
    v2: RunPodV2, server: RunPodServer, request_for, tmp_path: Path, trouble: str
) -> None:
    store = server.store
    pod = store.pods[v2.create(request_for()).id]
    other = v2.create(request_for(marker="b" * 12))
    if trouble:
        server.faults.append(Fault("DELETE", trouble))
    deadline = time.time() + 2
    process = start(container_arguments(deadline, server.url, pause_s=1), pod.pid1_env, tmp_path)
    try:
        wait_for((tmp_path / "started").exists, "the image's own start script")
        assert pod.id in store.pods
        wait_for(lambda: pod.id not in store.pods, "the end of the pod")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert time.time() >= int(deadline)
    assert other.id in store.pods
    deletes = [seen for seen in server.seen if seen.method == "DELETE"]
    assert {seen.headers["Authorization"] for seen in deletes} == {f"Bearer {pod.api_key}"}


def test_a_pod_that_was_started_after_its_deadline_keeps_its_volume(
    v2: RunPodV2, server: RunPodServer, store: Store, request_for, tmp_path: Path
) -> None:
    """Somebody started it in the provider's console: it is stopped after a while, never ended."""
    pod = store.pods[v2.create(request_for()).id]
    arguments = container_arguments(time.time() - 60, server.url, pause_s=1, grace_s=1)
    process = start(arguments, pod.pid1_env, tmp_path)
    try:
        wait_for(lambda: pod.desired == "EXITED", "the stop")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert pod.id in store.pods


def test_the_key_is_in_no_command_line(tmp_path: Path) -> None:
    """curl is replaced by a script that keeps what it was called with."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "curl").write_text('#!/bin/sh\necho "$@" > called\ncat > stdin\n')
    (tools / "curl").chmod(0o755)
    env = {"RUNPOD_API_KEY": "rpa_POD", "RUNPOD_POD_ID": "abc", "PATH": f"{tools}:{os.environ['PATH']}"}
    process = start(container_arguments(time.time() + 1, "https://api.runpod.io", pause_s=1), env, tmp_path)
    try:
        wait_for(lambda: (tmp_path / "stdin").exists() and (tmp_path / "stdin").read_text(), "curl")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "rpa_POD" not in (tmp_path / "called").read_text()
    assert "https://api.runpod.io/v2/pods/abc" in (tmp_path / "called").read_text()
    assert "Authorization: Bearer rpa_POD" in (tmp_path / "stdin").read_text()


def test_it_goes_along_with_every_create(v2: RunPodV2, store: Store, request_for) -> None:
    request = request_for()
    pod = store.pods[v2.create(request).id]
    assert pod.wanted.args == container_arguments(request.terminate_after, v2._http.base)
    assert store.account_key not in pod.wanted.args
