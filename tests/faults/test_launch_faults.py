"""Launching over SSH while agent and supervisor die at each stage: one job, a true end, nothing left."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.agent_runs import Runs
from tests.fakes.faulty_pod import FaultyPod, chatty_spec
from tests.fakes.following import Following
from tests.fakes.sshd import Laptop, PrivateSshd
from tests.fakes.waiting import wait_for
from tui.errors import FinetuiError
from tui.operations import launch
from tui.state.run_id import new_run_id


class Failpoint:
    """Sets ``FINETUI_FAILPOINT`` for the agents that later connections start."""

    def __init__(self, sshd: PrivateSshd, file: Path) -> None:
        self._file = file
        self.clear()
        sshd.stop()
        sshd.options.append(f'ForceCommand . {file}; eval "$SSH_ORIGINAL_COMMAND"')
        sshd.start()

    def set(self, name: str) -> None:
        self._file.write_text(f"export FINETUI_FAILPOINT={name}\n")

    def clear(self) -> None:
        self._file.write_text("true\n")


@pytest.fixture
def failpoint(pod: FaultyPod, sshd: PrivateSshd, tmp_path: Path) -> Failpoint:
    return Failpoint(sshd, tmp_path / "failpoint.sh")


@pytest.mark.parametrize(
    "name", ["launch-after-mkdir", "launch-after-spec", "launch-after-start", "launch-after-ready"]
)
def test_2_the_agent_dies_while_launching_and_the_launch_is_sent_again(
    pod: FaultyPod, failpoint: Failpoint, name: str
) -> None:
    run = new_run_id()
    failpoint.set(name)
    with pytest.raises(FinetuiError):
        pod.launch(chatty_spec("--code", "3"), run)
    failpoint.clear()
    pod.launch(chatty_spec("--code", "3"), run)
    pod.wait_running(run)
    pod.check_job_never_noticed(run)
    assert pod.finish(run).exit_code == 3
    assert Runs(pod.places).begins(run) == 1
    pod.check_nothing_left(run)


@pytest.mark.parametrize("name", ["supervise-before-proc", "supervise-after-fork", "supervise-running"])
def test_3_the_supervisor_dies_and_the_run_still_ends_as_it_should(
    pod: FaultyPod, failpoint: Failpoint, name: str
) -> None:
    run = new_run_id()
    failpoint.set(name)
    # The reply may or may not have made it out.
    with contextlib.suppress(FinetuiError):
        pod.launch(chatty_spec(), run)
    failpoint.clear()
    pod.kill(pod.agentd())
    if name == "supervise-before-proc":
        pod.launch(chatty_spec(), run)
        pod.wait_running(run)
        assert pod.finish(run).exit_code == 0
    else:
        with pod.connect() as client:
            client.request("run.stop", {"run": run, "force": True})
        wait_for(lambda: pod.status(run).state in ("stopped", "lost", "failed"), "the run to be over")
    pod.check_nothing_left(run)
    assert Runs(pod.places).begins(run) <= 1


def test_3_a_supervisor_killed_while_running_leaves_a_run_that_is_followed_and_stopped(
    pod: FaultyPod,
) -> None:
    run = pod.launch(chatty_spec())
    with Following(pod.target, run) as following:
        following.wait_bytes(10_000)
        pod.kill(pod.supervisor(run))
        pod.check_job_never_noticed(run)
        wait_for(lambda: pod.status(run).unsupervised, "the run to be told unsupervised")
        with pod.connect() as client:
            client.request("run.stop", {"run": run, "force": True})
        wait_for(lambda: pod.status(run).state in ("stopped", "lost", "failed"), "the run to be over")
        following.wait_whole(pod.places)
    pod.check_nothing_left(run)


def test_10_clients_that_launch_the_same_run_at_once_get_one_job(pod: FaultyPod) -> None:
    run = new_run_id()
    spec = chatty_spec()
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: pod.launch(spec, run), range(6)))
    assert set(found) == {run}
    pod.wait_running(run)
    assert pod.agentd()
    pod.check_job_never_noticed(run)
    pod.finish(run)
    assert Runs(pod.places).begins(run) == 1


def test_the_secrets_of_a_launch_are_nowhere_but_in_the_job(
    pod: FaultyPod, laptop: Laptop, tmp_path: Path
) -> None:
    secret = "hf_" + "s3cr3t" * 6
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "config.yaml").write_text("a: 1\n")
    with pod.connect() as client:
        run = launch.launch_folder(
            client, chatty_spec(), tmp_path / "prepared", run=new_run_id(), secrets={"HF_TOKEN": secret}
        ).run
    pod.wait_running(run)
    assert f"HF_TOKEN={secret}" in Path(f"/proc/{pod.job(run)}/environ").read_text()
    arguments = b"".join(path.read_bytes() for path in _command_lines())
    assert secret.encode() not in arguments
    pod.finish(run)
    for root in (pod.places.state, pod.places.runtime, laptop.folder, tmp_path / "pod"):
        for path in root.rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), f"the secret is in {path}"


def _command_lines() -> list[Path]:
    return [path for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
