"""The log on the run screen: ranks, places by the metrics' time, long copies."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.agent import ScriptedAgent
from tests.fakes.app_driver import RUN, Driver, drive
from tui.screens.run import RunScreen
from tui.widgets.logpanel import LogPanel


def test_each_rank_has_its_log_and_it_is_followed(agent: ScriptedAgent) -> None:
    agent.add(RUN, phase="training")
    agent.log(RUN, b"the run's own\n")
    ranks = f"runs/{RUN}/ranks/none_x/attempt_0"
    agent.files = {
        f"{ranks}/0/stderr.log": b"zero says\n",
        f"{ranks}/0/stdout.log": b"",
        f"{ranks}/1/stderr.log": b"one says\n",
    }

    async def scenario(user: Driver) -> None:
        await user.sees("the run's own")
        await user.press("6", "p")
        await user.sees("rank 0 stderr", "zero says")
        agent.files[f"{ranks}/0/stderr.log"] += b"zero goes on\n"
        await user.sees("zero goes on")
        await user.press("p")
        await user.sees("rank 1 stderr", "one says")
        await user.press("p")
        await user.sees("the run's own")
        await user.sees_no("rank 1")

    drive(agent, scenario, open_run=RUN)


def test_a_launcher_without_logs_of_ranks_is_said(agent: ScriptedAgent) -> None:
    agent.add(RUN)

    async def scenario(user: Driver) -> None:
        await user.on("RunScreen")
        await user.press("6", "p")
        await user.sees("keeps no log of each rank")

    drive(agent, scenario, open_run=RUN)


def test_a_step_is_found_by_the_time_of_its_metrics(agent: ScriptedAgent) -> None:
    agent.add(RUN, phase="training")
    agent.train(RUN, 0, 100)
    agent.log(RUN, b"".join(b"line %d\n" % number for number in range(1000)))

    async def scenario(user: Driver) -> None:
        await user.sees("line 999")
        await user.press("6", "colon", *"s50", "enter")
        await user.sees("line 503")  # half of the bytes

    drive(agent, scenario, open_run=RUN)


def test_more_than_a_clipboard_holds_goes_to_a_file(agent: ScriptedAgent, monkeypatch, tmp_path) -> None:
    agent.add(RUN)
    agent.log(RUN, b"x" * 200 + b"\n" + (b"y" * 99 + b"\n") * 900)
    home = tmp_path / "home"
    monkeypatch.setenv("FINETUI_HOME", str(home))

    async def scenario(user: Driver) -> None:
        await user.sees("yyy")
        await user.press("6", "slash", "y", "enter")
        assert isinstance(user.app.screen, RunScreen)
        view = user.app.screen.query_one(LogPanel).view
        await user.until(lambda: "/900" in view.status)
        await user.press("Y")
        await user.sees("saved as")

    drive(agent, scenario, open_run=RUN)
    (saved,) = Path(home, "data", "copies").iterdir()
    assert saved.read_text().count("\n") == 899
