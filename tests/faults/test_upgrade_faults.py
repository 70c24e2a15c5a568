"""Two builds over SSH: the newer one takes over, the run and its follower of the older one lose nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.fakes.agent_processes import agentd_pids
from tests.fakes.agent_zip import build_agent_zip
from tests.fakes.faulty_pod import FaultyPod, chatty_spec
from tests.fakes.following import Following
from tests.fakes.waiting import wait_for
from tui.operations import targets
from tui.remote.bootstrap import AgentBuild


def other_build(path: Path, version: str) -> AgentBuild:
    data = build_agent_zip(path, version=version).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return AgentBuild(f"{version}-{sha256[:12]}", sha256, data)


def test_22_an_upgrade_while_a_run_is_followed_by_a_client_of_the_old_build(
    pod: FaultyPod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pod.launch(chatty_spec("--code", "5"))
    new = other_build(tmp_path / "new.pyz", "9.0.0")
    with Following(pod.target, run) as following:
        following.wait_bytes(50_000)
        supervisor = pod.supervisor(run)
        with monkeypatch.context() as patch:
            patch.setattr(targets, "build_agent", lambda: new)
            with pod.connect() as client:
                assert client.hello.build == new.name
                assert [status["run"] for status in client.request("run.list")] == [run]
        wait_for(lambda: len(agentd_pids(pod.places)) == 1, "the old agent to leave")
        following.wait_state("live", 2)
        pod.check_job_never_noticed(run)
        assert pod.supervisor(run) == supervisor, "the run was moved to the new build"
        with pod.connect() as client:
            assert client.hello.build == new.name, "an older client took the pod back"
        assert pod.finish(run).exit_code == 5
        following.wait_whole(pod.places)
