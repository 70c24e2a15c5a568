"""An agent that may open no more files says so, and waits without spinning."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from remote_agent import relay
from tests.fakes.faulty_pod import FaultyPod, chatty_spec
from tui.errors import FinetuiError, RemoteError


def test_12_without_descriptors_opening_and_connecting_are_refused(pod: FaultyPod) -> None:
    run = pod.launch(chatty_spec())
    pod.wait_running(run)
    with pod.connect() as client:
        agent = pod.agentd()
        before = resource.prlimit(agent, resource.RLIMIT_NOFILE)
        resource.prlimit(agent, resource.RLIMIT_NOFILE, (3, before[1]))

        with pytest.raises(RemoteError) as opening:
            client.call("file.read", {"path": f"runs/{run}/log", "o": 0, "max": 10})
        assert "too many open files" in f"{opening.value.message} {opening.value.cause}".lower()

        spent = _cpu_s(agent)
        start = time.monotonic()
        with pytest.raises(FinetuiError) as connecting:
            pod.connect()
        waited = time.monotonic() - start
        assert "does not answer" in f"{connecting.value.message} {connecting.value.cause}"
        assert waited >= relay.ANSWER_LIMIT_S * 0.9
        assert _cpu_s(agent) - spent < 0.3 * waited, "it spins while it can accept nobody"
        assert "Too many open files" in pod.places.agentd_log.read_text()
        assert client.request("ping") == {}, "who was connected already is still served"

        resource.prlimit(agent, resource.RLIMIT_NOFILE, before)
        with pod.connect() as another:
            assert another.call("file.read", {"path": f"runs/{run}/log", "o": 0, "max": 10}).payload
        assert pod.agentd() == agent
    pod.check_job_never_noticed(run)
    assert pod.finish(run).exit_code == 0


def _cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
