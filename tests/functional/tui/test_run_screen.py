"""The screen of one run: curves, progress, machine, log, checkpoints."""

from __future__ import annotations

import pytest

from remote_agent.protocol import Checkpoint, GpuSample, Sample
from tests.fakes.agent import ScriptedAgent
from tests.fakes.app_driver import OTHER, RUN, Driver, drive

GIB = 1024**3


def eight_gpus() -> Sample:
    gpus = tuple(
        GpuSample(index, "NVIDIA H100", 50.0 + index, (10 + index) * GIB, 80 * GIB, 60.0, 500.0, 700.0)
        for index in range(8)
    )
    return Sample(1.0, 12.0, 64, 30 * GIB, 512 * GIB, 40 * GIB, 400 * GIB, gpus)


def test_it_shows_curves_progress_log_and_checkpoints(agent: ScriptedAgent) -> None:
    agent.add(RUN, phase="training")
    agent.train(RUN, 1, 40)
    agent.log(RUN, b"first line\nsecond line\n")
    agent.checkpoint(RUN, 40)

    async def scenario(user: Driver) -> None:
        await user.sees("AAA")
        await user.press("enter")
        await user.on("RunScreen")
        await user.sees("25%", "step 40/160", "epoch 1.25", "ETA 48 s", "2.6k tok/s", "0.40 s/step")
        await user.sees("second line", "13.4 MiB", "training")
        await user.until(lambda: "⠉" in user.text() and "0.987 min 0.987 step 40" in user.text())
        agent.train(RUN, 41, 60)
        agent.log(RUN, b"third line\n")
        await user.sees("step 60/160", "third line")

    drive(agent, scenario, size=(130, 40))


def test_a_small_window_shows_one_panel_at_a_time(agent: ScriptedAgent) -> None:
    agent.add(RUN)
    agent.train(RUN, 1, 40)
    agent.log(RUN, b"a line of the log\n")

    async def scenario(user: Driver) -> None:
        await user.sees("1 Loss", "7 Checkpoints", "step 40/160")
        assert "a line of the log" not in user.text()
        await user.press("6")
        await user.sees("a line of the log")
        await user.press("7")
        await user.sees("No checkpoint yet")
        await user.press("5")
        agent.sample(eight_gpus())
        await user.sees(*(f"GPU{index}" for index in range(8)), "17.0/80.0 GiB")

    drive(agent, scenario, size=(80, 24), open_run=RUN)


def test_zoom_gives_a_panel_the_screen_and_escape_takes_it_back(agent: ScriptedAgent) -> None:
    agent.add(RUN)
    agent.train(RUN, 1, 40)

    async def scenario(user: Driver) -> None:
        await user.sees("1 loss", "learning rate", "Checkpoints")
        await user.press("2", "z")
        await user.sees_no("1 loss")
        await user.sees("learning rate")
        await user.press("escape")
        await user.sees("1 loss")
        await user.press("escape")
        await user.on("RunsScreen")

    drive(agent, scenario, open_run=RUN)


def test_phases_before_training_say_how_far_they_are(agent: ScriptedAgent) -> None:
    agent.add(RUN, "preparing", phase="environment", detail="installing torch", phase_done=3, phase_total=8)

    async def scenario(user: Driver) -> None:
        await user.sees("preparing", "environment: installing torch", "3 of 8", "not training yet")

    drive(agent, scenario, size=(80, 24), open_run=RUN)


def test_a_failure_is_said_in_words(agent: ScriptedAgent) -> None:
    agent.add(RUN)

    async def scenario(user: Driver) -> None:
        await user.sees("running")
        agent.update(RUN, state="failed", message="CUDA out of memory on rank 3: lower micro_batch")
        await user.sees("failed", "CUDA out of memory on rank 3: lower micro_batch")

    drive(agent, scenario, open_run=RUN)


def test_a_resumed_run_drops_the_superseded_points(agent: ScriptedAgent) -> None:
    agent.add(RUN)
    agent.train(RUN, 1, 40)

    async def scenario(user: Driver) -> None:
        await user.sees("0.987 min 0.987 step 40")
        agent.record(RUN, {"event": "begin", "t": 1.0, "step": 20, "total": 160, "ranks": 1, "attempt": 2})
        await user.sees("2.22 min 2.22 step 20")

    drive(agent, scenario, open_run=RUN)


def test_stop_and_resume_from_a_chosen_checkpoint(agent: ScriptedAgent) -> None:
    agent.add(RUN)
    agent.checkpoint(RUN, 20)
    agent.checkpoint(RUN, 40)

    async def scenario(user: Driver) -> None:
        await user.sees("step 20", "step 40")
        await user.press("s", "y")
        await user.sees("stopping")
        agent.update(RUN, state="stopped")
        await user.sees("■ stopped")
        await user.press("7", "down", "r")
        await user.until(lambda: agent.requests[-1][0] in ("run.resume", "ckpt.list"))
        resumed = [params for method, params in agent.requests if method == "run.resume"]
        assert resumed[0]["step"] == 20

    drive(agent, scenario, open_run=RUN)


def test_a_lost_connection_keeps_the_last_data_with_its_age(agent: ScriptedAgent) -> None:
    agent.add(RUN)
    agent.train(RUN, 1, 40)

    async def scenario(user: Driver) -> None:
        await user.sees("step 40/160")
        agent.drop("no route to host")
        await user.sees("connection lost 0 s ago", "step 40/160", "as of 0 s ago")
        agent.restore()
        agent.runs[RUN].log += b"written while away\n"
        agent.runs[RUN].checkpoints.append(Checkpoint("id", 40, 14_000_000, True, "p", 1.0, resumable=True))
        await user.press("f9", "6")
        await user.sees("● local", "written while away", "13.4 MiB")

    drive(agent, scenario, open_run=RUN, size=(140, 40))


def test_quit_leaves_runs_going_and_says_so_and_a_new_start_finds_them(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.add(RUN, created=2.0)
    agent.add(OTHER, "finished", created=1.0)
    agent.train(RUN, 1, 40)
    agent.log(RUN, b"kept line\n")

    async def leave(user: Driver) -> None:
        await user.sees("kept line")
        await user.press("q")

    drive(agent, leave, open_run=RUN)
    said = capsys.readouterr().err
    assert "1 run going on without finetui" in said
    assert "finetui stop" in said
    assert not [method for method, _ in agent.requests if method == "run.stop"]

    agent.runs[RUN].log += b"while it was closed\n"
    agent.train(RUN, 41, 50)

    async def again(user: Driver) -> None:
        await user.sees("AAA", "50/160")
        await user.press("j", "k", "enter")
        await user.sees("kept line", "while it was closed", "step 50/160")

    drive(agent, again)


def test_a_finished_run_opens_while_its_machine_is_away(agent: ScriptedAgent) -> None:
    agent.add(RUN, "finished")
    agent.train(RUN, 1, 160)
    agent.log(RUN, b"the last line\n")

    async def look(user: Driver) -> None:
        await user.sees("the last line")

    drive(agent, look, open_run=RUN)
    agent.drop("the pod is gone")

    async def offline(user: Driver) -> None:
        await user.sees("finished", "connection lost")
        await user.press("enter")
        await user.sees("the last line", "step 160/160", "as of")

    drive(agent, offline)


@pytest.mark.parametrize("size", [(20, 5), (40, 9), (60, 12), (100, 30), (200, 60)])
def test_any_window_size_is_survived(agent: ScriptedAgent, size: tuple[int, int]) -> None:
    agent.add(RUN)
    agent.train(RUN, 1, 40)

    async def scenario(user: Driver) -> None:
        await user.on("RunScreen")
        for width, height in (size, (20, 5), (200, 60), size):
            await user.pilot.resize_terminal(width, height)
            await user.pilot.pause()
        agent.sample(eight_gpus())
        await user.press("6", "5", "z", "z", "7", "1")
        if size == (20, 5):
            await user.sees("enlarge")
        else:
            await user.sees("running")

    drive(agent, scenario, size=size, open_run=RUN)


def test_a_log_that_was_hidden_is_followed_when_it_is_shown(agent: ScriptedAgent) -> None:
    agent.add(RUN)
    agent.log(RUN, b"".join(b"line %d\n" % number for number in range(200)))

    async def scenario(user: Driver) -> None:
        await user.sees("1 Loss")
        await user.press("6")
        await user.sees("line 199", "following")
        await user.press("1", "6")
        agent.log(RUN, b"one more\n")
        await user.sees("one more", "following")

    drive(agent, scenario, size=(80, 24), open_run=RUN)


def test_the_sparkline_of_an_earlier_session_is_drawn_while_the_machine_is_away(agent: ScriptedAgent) -> None:
    agent.add(RUN, "finished")
    agent.train(RUN, 1, 160)

    async def look(user: Driver) -> None:
        await user.sees("step 160/160")
        await user.until(lambda: user.app.context.board.metrics_of(RUN).newest.get("step") == 160)

    drive(agent, look, open_run=RUN)
    agent.drop("the pod is gone")

    async def offline(user: Driver) -> None:
        await user.sees("AAA", "▁▁▁", "█")

    drive(agent, offline)


@pytest.mark.slow
def test_a_hundred_thousand_points_are_drawn(agent: ScriptedAgent) -> None:
    agent.add(RUN)
    line = '{"event": "log", "t": %d.0, "step": %d, "total": 100000, "loss": %.5f, "lr": 1e-4}\n'
    agent.runs[RUN].metrics = "".join(line % (n, n, 100 / (n + 1)) for n in range(1, 100_001)).encode()

    async def scenario(user: Driver) -> None:
        await user.until(
            lambda: user.app.context.board.metrics_of(RUN).newest.get("step") == 100_000, deadline_s=60
        )
        await user.sees("step 100,000")

    drive(agent, scenario, open_run=RUN)
