"""Launch, resume and delete: each may be sent twice, raced, or cut at any point."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from remote_agent import checkpoints, lifecycle, status
from remote_agent.errors import AgentError
from remote_agent.protocol import CONFLICT, INVALID_PARAMS, NOT_FOUND, REFUSED
from tests.fakes.agent_runs import Runs, tree_spec
from tests.fakes.agent_zip import build_agent_zip
from tests.fakes.waiting import wait_for


def test_forty_launches_of_one_id_give_one_job(runs: Runs) -> None:
    spec = tree_spec("--steps", "3")
    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(lambda _: runs.launch("r1", spec), range(40)))
    assert {item.run for item in found} == {"r1"}
    runs.ended("r1")
    assert runs.begins("r1") == 1


def test_launches_from_several_processes_give_one_job(runs: Runs) -> None:
    spec = tree_spec("--steps", "3")
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: runs.launch_in_process("r1", spec, ""), range(8)))
    assert codes == [0] * 8
    assert runs.ended("r1").state == "finished"
    assert runs.begins("r1") == 1


def test_a_second_launch_returns_the_run_and_another_spec_is_a_conflict(runs: Runs) -> None:
    runs.launch("r1", tree_spec())
    runs.ended("r1")
    assert runs.launch("r1", tree_spec()).state == "finished"
    with pytest.raises(AgentError) as refused:
        runs.launch("r1", tree_spec("--steps", "9"), spec_sha="another")
    assert refused.value.code == CONFLICT
    assert runs.begins("r1") == 1


@pytest.mark.parametrize(
    "failpoint",
    [
        "launch-after-mkdir",
        "launch-after-spec",
        "launch-after-start",
        "launch-after-ready",
        "supervise-before-proc",
    ],
)
def test_a_launch_that_was_cut_is_made_whole_by_sending_it_again(runs: Runs, failpoint: str) -> None:
    """I1 and I2: kill -9 of agentd or of the new supervisor at each stage, then the client's retry."""
    assert runs.launch_in_process("r1", tree_spec("--steps", "5"), failpoint) != 0
    runs.launch("r1", tree_spec("--steps", "5"))
    assert runs.ended("r1").state == "finished"
    assert runs.begins("r1") == 1


@pytest.mark.parametrize("run", ["", "../r1", "a/b", "-x", "a" * 65, "a\0b", "r1\n"])
def test_an_id_that_is_no_id_is_refused(runs: Runs, run: str) -> None:
    with pytest.raises(AgentError) as refused:
        runs.launch(run, tree_spec())
    assert refused.value.code == INVALID_PARAMS
    assert list(runs.places.runs.iterdir()) == []


@pytest.mark.parametrize("path", ["../escape", "/etc/passwd", "a/../../b", "", ".", "a\0b"])
def test_a_file_outside_the_run_is_refused_and_nothing_is_left(runs: Runs, path: str) -> None:
    content = b"x"
    sha256 = hashlib.sha256(content).hexdigest()
    (runs.places.blobs / sha256).write_bytes(content)
    with pytest.raises(AgentError) as refused:
        runs.launch("r1", tree_spec(), files={path: sha256})
    assert refused.value.code == INVALID_PARAMS
    assert list(runs.places.runs.iterdir()) == []


def test_uploaded_files_are_where_the_step_runs(runs: Runs) -> None:
    content = b"learning_rate: 1e-4\n"
    sha256 = hashlib.sha256(content).hexdigest()
    (runs.places.blobs / sha256).write_bytes(content)
    spec = tree_spec(steps=[{"name": "train", "argv": ["cat", "conf/train.yaml"]}])
    runs.launch("r1", spec, files={"conf/train.yaml": sha256})
    assert runs.ended("r1").state == "finished"
    assert runs.log("r1") == content.decode()


def test_a_file_that_was_not_uploaded_is_named_and_nothing_is_left(runs: Runs) -> None:
    with pytest.raises(AgentError) as refused:
        runs.launch("r1", tree_spec(), files={"data.jsonl": "0" * 64})
    assert refused.value.code == NOT_FOUND
    assert "data.jsonl" in refused.value.message
    assert list(runs.places.runs.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ([], "spec"),
        ({"kind": "bake", "steps": []}, "kind"),
        ({"steps": []}, "steps"),
        ({"steps": [{"argv": ["ls", 1]}]}, "steps[0].argv"),
        ({"steps": [{"argv": ["ls"], "env": {"A": 1}}]}, "steps[0].env"),
        ({"steps": [{"argv": ["ls"]}], "ranks": 0}, "ranks"),
    ],
)
def test_a_spec_that_can_not_be_run_names_its_key(runs: Runs, spec: object, named: str) -> None:
    with pytest.raises(AgentError, match="job spec") as refused:
        runs.launch("r1", spec)  # type: ignore[arg-type]
    assert named in refused.value.message


def stopped_with_checkpoints(runs: Runs) -> int:
    """Leave r1 stopped with a complete checkpoint; return its step."""
    runs.launch("r1", tree_spec("--steps", "100000"))
    runs.wait("r1", "running")
    lifecycle.stop(runs.places, "r1")
    return runs.ended("r1").step or 0


def test_a_resume_continues_from_the_newest_checkpoint(runs: Runs) -> None:
    step = stopped_with_checkpoints(runs)
    spec_path = runs.directory("r1").spec
    spec = json.loads(spec_path.read_text())
    spec["steps"][0]["argv"][3] = str(step + 3)
    spec_path.write_text(json.dumps(spec))
    lifecycle.resume(runs.places, "r1", None, {})
    found = runs.ended("r1")
    assert (found.state, found.step) == ("finished", step + 3)
    assert f"=== attempt 2: resumed from checkpoint-{step} ===" in runs.log("r1")
    first = json.loads((runs.directory("r1").attempts / "1.json").read_text())
    assert (first["state"], first["code"]) == ("stopped", 0)
    begins = [
        json.loads(line) for line in runs.directory("r1").metrics.read_text().splitlines() if "begin" in line
    ]
    assert [(begin["attempt"], begin["step"]) for begin in begins] == [(1, 0), (2, step)]


def test_a_resume_from_an_earlier_step_puts_the_later_ones_aside(runs: Runs) -> None:
    step = stopped_with_checkpoints(runs)
    output = runs.directory("r1").output
    later = output / f"checkpoint-{step}"
    earlier = output / "checkpoint-0"
    subprocess.run(["cp", "-r", str(later), str(earlier)], check=True)
    lifecycle.resume(runs.places, "r1", 0, {})
    runs.wait("r1", "running")
    assert (output / "superseded-1" / later.name).is_dir()
    assert lifecycle.resume(runs.places, "r1", None, {}).state in ("starting", "running")
    lifecycle.stop(runs.places, "r1", force=True)
    runs.ended("r1")
    assert runs.begins("r1") == 2


def test_a_resume_leaves_out_what_needs_doing_once(runs: Runs) -> None:
    counted = {"name": "model", "argv": ["/bin/sh", "-c", "echo made >> $FINETUI_RUN_DIR/made"], "once": True}
    spec = tree_spec("--steps", "2")
    spec["steps"] = [counted, *spec["steps"]]
    runs.launch("r1", spec)
    runs.ended("r1")
    lifecycle.resume(runs.places, "r1", 2, {})
    runs.ended("r1")
    assert (runs.directory("r1").path / "made").read_text().split() == ["made"]
    assert runs.begins("r1") == 2


def test_nothing_to_resume_from_is_said_with_what_to_do(runs: Runs) -> None:
    runs.launch("r1", tree_spec(steps=[{"name": "train", "argv": ["false"]}]))
    runs.ended("r1")
    with pytest.raises(AgentError) as refused:
        lifecycle.resume(runs.places, "r1", None, {})
    assert refused.value.code == REFUSED
    assert "finetui checkpoints r1" in refused.value.remedy
    assert runs.status("r1").state == "failed"


def test_delete_frees_the_bytes_of_an_ended_run_only(runs: Runs) -> None:
    runs.launch("r1", tree_spec("--steps", "100000"))
    with pytest.raises(AgentError) as refused:
        lifecycle.delete(runs.places, "r1")
    assert refused.value.code == CONFLICT
    lifecycle.stop(runs.places, "r1", force=True)
    runs.ended("r1")
    (runs.directory("r1").output / "weights").write_bytes(b"w" * 1_000_000)
    assert lifecycle.delete(runs.places, "r1") >= 1_000_000
    assert not runs.directory("r1").path.exists()
    assert status.all_runs(runs.places) == []
    with pytest.raises(AgentError) as gone:
        lifecycle.delete(runs.places, "r1")
    assert gone.value.code == NOT_FOUND


def test_a_run_that_is_being_served_is_not_deleted(runs: Runs) -> None:
    runs.launch("r1", tree_spec())
    runs.ended("r1")
    serve = tree_spec(
        kind="serve", parent="r1@3", steps=[{"name": "serve", "argv": ["sleep", "600"]}], resume=None
    )
    runs.launch("server", serve)
    with pytest.raises(AgentError, match="being served by server"):
        lifecycle.delete(runs.places, "r1")
    lifecycle.stop(runs.places, "server")
    assert runs.ended("server").state == "stopped"
    assert lifecycle.delete(runs.places, "r1") > 0


def test_a_process_that_carries_the_cookie_blocks_a_delete_until_it_is_stopped(runs: Runs) -> None:
    runs.launch("r1", tree_spec())
    runs.ended("r1")
    environment = {**os.environ, "FINETUI_COOKIE": runs.record("r1")["cookie"]}
    stray = subprocess.Popen(["sleep", "600"], env=environment)
    try:
        wait_for(lambda: runs.left("r1"), "the stray to be seen")
        with pytest.raises(AgentError, match=str(stray.pid)):
            lifecycle.delete(runs.places, "r1")
        lifecycle.stop(runs.places, "r1", force=True)
        assert stray.wait(10) == -9
        assert lifecycle.delete(runs.places, "r1") > 0
    finally:
        stray.kill()
        stray.wait()


def test_a_server_is_running_when_its_endpoint_is_there_and_has_no_port_once_ended(runs: Runs) -> None:
    runs.launch("s1", tree_spec(kind="serve", steps=[{"name": "serve", "argv": ["sleep", "600"]}]))
    runs.wait("s1", "starting")
    runs.directory("s1").endpoint.write_text('{"port": 4242}')
    assert runs.wait("s1", "running").port == 4242
    lifecycle.stop(runs.places, "s1")
    found = runs.ended("s1")
    assert (found.state, found.port) == ("stopped", None)


def test_the_agent_as_one_file_runs_a_job(runs: Runs, tmp_path: Path) -> None:
    """Nothing but the standard library and the file itself, isolated as on a pod."""
    archive = build_agent_zip(tmp_path / "build" / "agent.pyz")
    code = (
        "import json, os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from remote_agent import lifecycle\n"
        "from remote_agent.places import Places\n"
        "places = Places.from_environment(os.environ)\n"
        "lifecycle.launch(places, 'r1', json.loads(sys.argv[2]), 'sha', {}, {})\n"
    )
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(archive), json.dumps(tree_spec())],
        env={"PATH": os.environ["PATH"], **runs.places.as_environment()},
        check=True,
        timeout=60,
    )  # fmt: skip
    assert runs.ended("r1").state == "finished", runs.log("r1")
    assert runs.status("r1").step == 3


def test_checkpoints_carry_the_loss_of_their_step(runs: Runs) -> None:
    runs.launch("r1", tree_spec("--steps", "4"))
    runs.ended("r1")
    (found,) = checkpoints.list_checkpoints(runs.places, "r1")
    assert (found.id, found.step, found.complete, found.resumable) == ("r1@4", 4, True, True)
    assert found.loss == pytest.approx(0.25)
    assert found.bytes > 0
