"""The supervisor against a real process tree: exact endings, nothing left behind, nothing ever twice."""

from __future__ import annotations

import json
import os
import signal

import pytest

from remote_agent import lifecycle
from remote_agent.identity import Identity
from tests.fakes.agent_runs import PROC, Runs, tree_spec
from tests.fakes.waiting import wait_for


def shell_spec(script: str, **changes: object) -> dict[str, object]:
    return tree_spec(steps=[{"name": "train", "argv": ["/bin/sh", "-c", script]}], **changes)


def test_a_run_finishes_with_its_numbers(runs: Runs) -> None:
    runs.launch("r1", tree_spec("--steps", "5"))
    status = runs.ended("r1")
    assert (status.state, status.exit_code, status.step, status.total) == ("finished", 0, 5, 5)
    assert status.loss == pytest.approx(0.2)
    assert status.peak_vram_bytes == 5
    assert status.phase == "done"
    assert runs.left("r1") == []


@pytest.mark.parametrize("code", [1, 3, 130, 255])
def test_exit_codes_are_exact(runs: Runs, code: int) -> None:
    runs.launch("r1", shell_spec(f"exit {code}"))
    status = runs.ended("r1")
    assert (status.state, status.exit_code) == ("failed", code)


def test_a_failure_is_told_by_the_last_exception_of_the_log(runs: Runs) -> None:
    runs.launch("r1", tree_spec("--code", "1"))
    status = runs.ended("r1")
    assert status.state == "failed"
    assert status.message == (
        "train failed with exit code 1: "
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    )


def test_a_command_that_does_not_exist_is_named(runs: Runs) -> None:
    runs.launch("r1", tree_spec(steps=[{"name": "train", "argv": ["no-such-launcher"]}]))
    status = runs.ended("r1")
    assert status.state == "failed"
    assert status.message == "train could not be started: no-such-launcher: No such file or directory"


def test_steps_run_one_after_another_and_a_failed_one_is_the_last(runs: Runs) -> None:
    steps = [
        {"name": name, "argv": ["/bin/sh", "-c", f"echo {name} >> $FINETUI_RUN_DIR/order; exit {code}"]}
        for name, code in (("one", 0), ("two", 4), ("three", 0))
    ]
    runs.launch("r1", tree_spec(steps=steps))
    status = runs.ended("r1")
    assert (runs.directory("r1").path / "order").read_text().split() == ["one", "two"]
    assert (status.exit_code, status.message) == (4, "two failed with exit code 4")


def test_kill_9_of_the_job_leader_is_recorded_and_its_strays_are_swept(runs: Runs) -> None:
    runs.launch("r1", tree_spec("--steps", "100000", "--children", "3", "--stubborn"))
    runs.wait_ready("r1")
    assert wait_for(lambda: len(runs.left("r1")) == 7, "seven processes")
    os.kill(runs.record("r1")["job"]["pid"], signal.SIGKILL)
    status = runs.ended("r1")
    assert status.state == "failed"
    assert status.message == "train was killed by signal 9 (out of memory?)"
    assert json.loads(runs.directory("r1").exit.read_text())["signal"] == 9
    assert runs.left("r1") == []


def test_workers_that_outlive_a_leader_that_finished_are_swept(runs: Runs) -> None:
    runs.launch("r1", tree_spec("--children", "2"))
    assert runs.ended("r1").state == "finished"
    assert runs.left("r1") == []


def test_a_graceful_stop_saves_before_it_ends(runs: Runs) -> None:
    runs.launch("r1", tree_spec("--steps", "100000", "--children", "1"))
    runs.wait("r1", "running")
    lifecycle.stop(runs.places, "r1")
    status = runs.ended("r1")
    assert (status.state, status.exit_code) == ("stopped", 0)
    assert (runs.directory("r1").output / f"checkpoint-{status.step}" / "trainer_state.json").exists()
    assert runs.left("r1") == []


def test_a_stop_of_a_tree_that_ignores_everything_leaves_no_process(runs: Runs) -> None:
    spec = tree_spec("--steps", "100000", "--children", "3", "--stubborn", "--deaf")
    spec["stop"] = {"graceful_save_s": 0.2, "grace_s": 0.2}
    runs.launch("r1", spec)
    runs.wait("r1", "running")
    assert lifecycle.stop(runs.places, "r1").state == "stopping"
    assert runs.ended("r1").state == "stopped"
    assert runs.left("r1") == []


def test_force_leaves_out_every_grace(runs: Runs) -> None:
    spec = tree_spec("--steps", "100000", "--children", "2", "--stubborn", "--deaf")
    spec["stop"] = {"graceful_save_s": 600, "grace_s": 600}
    runs.launch("r1", spec)
    runs.wait("r1", "running")
    lifecycle.stop(runs.places, "r1")
    lifecycle.stop(runs.places, "r1", force=True)
    lifecycle.stop(runs.places, "r1")
    assert runs.ended("r1").state == "stopped"
    assert runs.left("r1") == []


def test_sigterm_to_the_supervisor_is_a_stop(runs: Runs) -> None:
    runs.launch("r1", tree_spec("--steps", "100000"))
    runs.wait("r1", "running")
    os.kill(runs.record("r1")["supervisor"]["pid"], signal.SIGTERM)
    status = runs.ended("r1")
    assert (status.state, status.exit_code) == ("stopped", 0)


def test_a_stop_before_training_begins_does_not_wait_for_a_checkpoint(runs: Runs) -> None:
    runs.launch("r1", shell_spec("sleep 600", stop={"graceful_save_s": 600, "grace_s": 5}))
    runs.wait("r1", "starting")
    lifecycle.stop(runs.places, "r1")
    assert runs.ended("r1").state == "stopped"


def test_a_stop_while_the_environment_is_built_ends_the_builder(runs: Runs) -> None:
    spec = tree_spec(environment={"name": "never", "pins": "", "late_pins": "", "probe": ["no_such_module"]})
    runs.launch("r1", spec)
    lifecycle.stop(runs.places, "r1")
    assert runs.ended("r1").state == "stopped"
    assert runs.left("r1") == []
    assert not runs.directory("r1").metrics.exists()


def test_a_build_that_fails_is_told_in_the_builders_own_words(runs: Runs) -> None:
    runs.launch("r1", tree_spec(environment={"name": "never", "pins": "", "late_pins": "", "probe": ["x"]}))
    status = runs.ended("r1")
    assert status.state == "failed"
    assert "names no environment to build; launch the run again" in status.message
    assert "exit code" not in status.message


def test_the_job_sees_its_secrets_and_its_placeholders_and_no_secret_is_stored(runs: Runs) -> None:
    script = 'test ${#HF_TOKEN} = 9 && echo "{threads} {port} {output} $PYTHONUNBUFFERED $API_HOST"'
    runs.launch("r1", shell_spec(script), secrets={"HF_TOKEN": "hush-hush"})
    assert runs.ended("r1").state == "finished"
    threads, port, output, unbuffered, host = runs.log("r1").split()
    assert int(threads) >= 1
    assert 1024 <= int(port) <= 65535
    assert output == str(runs.directory("r1").output)
    assert (unbuffered, host) == ("1", "127.0.0.1")
    for path in runs.places.state.rglob("*"):
        assert not path.is_file() or b"hush-hush" not in path.read_bytes(), path


def test_what_belongs_to_the_laptop_does_not_reach_the_job(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNPOD_API_KEY", "MY_TOKEN", "SSH_AUTH_SOCK", "PYTHONPATH", "VIRTUAL_ENV", "DB_PASSWORD"):
        monkeypatch.setenv(name, "of-the-laptop")
    monkeypatch.setenv("HARMLESS", "kept")
    runs.launch("r1", shell_spec("env"))
    runs.ended("r1")
    assert "of-the-laptop" not in runs.log("r1")
    assert "HARMLESS=kept" in runs.log("r1")


def test_a_secret_in_an_exception_is_not_repeated_in_the_message(runs: Runs) -> None:
    spec = shell_spec('echo "OSError: bad token $HF_TOKEN"; exit 1')
    runs.launch("r1", spec, secrets={"HF_TOKEN": "hush-hush"})
    assert runs.ended("r1").message == "train failed with exit code 1: OSError: bad token [secret]"


@pytest.mark.parametrize(
    "failpoint",
    ["supervise-before-exit", "supervise-running", "supervise-after-fork", "supervise-after-exit"],
)
def test_whatever_moment_kills_the_supervisor_the_status_settles_and_stop_works(
    runs: Runs, failpoint: str
) -> None:
    """I1, I2, I3: one job at most, a true status, and no process after a stop."""
    steps = "100000" if failpoint == "supervise-running" else "5"
    runs.launch_in_process("r1", tree_spec("--steps", steps, "--children", "2"), failpoint)
    runs.wait_unsupervised("r1")
    if failpoint == "supervise-running":
        status = runs.wait("r1", "running")
        assert status.unsupervised
        lifecycle.recover(runs.places)
        assert not runs.status("r1").unsupervised
        lifecycle.stop(runs.places, "r1", force=True)
    elif failpoint != "supervise-after-exit":
        assert runs.status("r1").state == "lost"
        lifecycle.recover(runs.places)
    status = runs.ended("r1")
    expected = {
        # Nobody recorded its code, but the trainer had said that it reached its end.
        "supervise-before-exit": "finished",
        "supervise-running": "stopped",
        "supervise-after-fork": "lost",
        "supervise-after-exit": "finished",
    }
    assert status.state == expected[failpoint]
    assert runs.left("r1") == []
    assert runs.begins("r1") == (0 if failpoint == "supervise-after-fork" else 1)


@pytest.mark.parametrize("failpoint", ["supervise-grace", "supervise-sweep"])
def test_a_supervisor_that_dies_while_it_stops_a_run_is_replaced_by_one_that_finishes_it(
    runs: Runs, failpoint: str
) -> None:
    spec = tree_spec("--steps", "100000", "--children", "2", "--stubborn", "--deaf")
    spec["stop"] = {"graceful_save_s": 0, "grace_s": 0.2}
    runs.launch_in_process("r1", spec, failpoint)
    runs.wait("r1", "running")
    lifecycle.stop(runs.places, "r1")
    runs.wait_unsupervised("r1")
    assert runs.left("r1")
    lifecycle.stop(runs.places, "r1")
    assert runs.ended("r1").state == "stopped"
    assert runs.left("r1") == []


def test_the_job_does_not_notice_that_its_supervisor_was_killed(runs: Runs) -> None:
    """I7, and the end of training is found although nobody could see the exit code."""
    runs.launch("r1", tree_spec("--steps", "60", "--step-s", "0.03"))
    runs.wait("r1", "running")
    os.kill(runs.record("r1")["supervisor"]["pid"], signal.SIGKILL)
    runs.wait_unsupervised("r1")
    heartbeat = runs.directory("r1").path / "heartbeat"
    wait_for(heartbeat.exists, "a first heartbeat")
    before = heartbeat.read_text()
    wait_for(lambda: heartbeat.read_text() != before, "the job's heart to beat on")
    lifecycle.recover(runs.places)
    status = runs.ended("r1")
    assert (status.state, status.exit_code, status.step) == ("finished", None, 60)
    assert "exit code is not known" in status.message


def test_a_supervisor_of_another_boot_is_never_signalled(runs: Runs) -> None:
    """I6: after a reboot the recorded pid is somebody else's."""
    runs.launch("r1", tree_spec("--steps", "100000"))
    runs.wait("r1", "running")
    record = runs.record("r1")
    stranger = Identity.from_json({**record["job"], "boot": "another"})
    assert not PROC.alive(stranger)
    assert PROC.alive(Identity.from_json(record["job"]))
