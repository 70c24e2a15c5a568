"""Home: the list of runs, and what can be done from it."""

from __future__ import annotations

import pytest

from tests.fakes.agent import ScriptedAgent
from tests.fakes.app_driver import OTHER, RUN, Driver, drive


def test_without_runs_it_says_what_to_do(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await user.sees("No runs yet", "try the demo", "finetui demo")

    drive(agent, scenario, size=(80, 24))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_runs_are_listed_newest_first_with_their_numbers(agent: ScriptedAgent, size: tuple[int, int]) -> None:
    agent.add(RUN, "finished", created=1.0, preset="phi-2-full")
    agent.add(OTHER, "running", created=2.0, preset="mistral-7b-instruct-full")
    agent.train(OTHER, 1, 40)

    async def scenario(user: Driver) -> None:
        await user.sees("finished", "running", "40/160", "48s")
        lines = user.text().splitlines()
        rows = [line for line in lines if "BBB" in line or "AAA" in line]
        assert "BBB" in rows[0], "the newest is the first"
        assert "AAA" in rows[1]
        if size[0] >= 120:
            assert "2.6k" in rows[0]
            assert "local" in rows[0]

    drive(agent, scenario, size=size)


def test_a_run_moves_while_it_is_watched(agent: ScriptedAgent) -> None:
    agent.add(RUN)

    async def scenario(user: Driver) -> None:
        await user.sees("running")
        agent.train(RUN, 1, 7)
        await user.sees("7/160")
        agent.update(RUN, state="failed", message="CUDA out of memory on rank 3")
        await user.sees("failed", "CUDA out of memory on rank 3")

    drive(agent, scenario)


def test_the_cursor_stays_on_its_run_when_another_comes(agent: ScriptedAgent) -> None:
    agent.add(RUN, created=1.0)

    async def scenario(user: Driver) -> None:
        await user.sees("AAA")
        agent.add(OTHER, created=2.0)
        await user.sees("BBB")
        chosen = next(line for line in user.text().splitlines() if line.startswith("▸"))
        assert "AAA" in chosen
        await user.press("k")
        await user.sees(f"running  {OTHER}")

    drive(agent, scenario)


def test_stop_asks_first_and_the_safe_answer_has_the_focus(agent: ScriptedAgent) -> None:
    agent.add(RUN)

    async def scenario(user: Driver) -> None:
        await user.sees("running")
        await user.press("s")
        await user.sees("Stop run", "saves a full checkpoint")
        await user.press("enter")
        await user.on("RunsScreen")
        assert not [call for call in agent.requests if call[0] == "run.stop"]
        await user.press("s", "y")
        await user.sees("stopping")
        assert ("run.stop", {"run": RUN, "force": False}) in agent.requests
        await user.press("s")
        await user.sees("Kill run", "loses every step since its last checkpoint")

    drive(agent, scenario)


def test_delete_says_what_it_destroys(agent: ScriptedAgent) -> None:
    agent.add(RUN, "finished")
    agent.checkpoint(RUN, 80)
    agent.checkpoint(RUN, 160)

    async def scenario(user: Driver) -> None:
        await user.sees("finished")
        await user.press("d")
        await user.sees("2 checkpoints (26.7 MiB), at step 80, 160", "can't be undone")
        await user.press("n")
        assert RUN in agent.runs
        await user.press("d")
        await user.sees("can't be undone")
        await user.press("y")
        await user.sees("No runs yet")
        assert RUN not in agent.runs

    drive(agent, scenario)


def test_a_live_run_is_not_deleted(agent: ScriptedAgent) -> None:
    agent.add(RUN)

    async def scenario(user: Driver) -> None:
        await user.sees("running")
        await user.press("d")
        await user.sees("stop it first")

    drive(agent, scenario)


def test_resume_goes_on_from_the_newest_checkpoint(agent: ScriptedAgent) -> None:
    agent.add(RUN, "stopped")

    async def scenario(user: Driver) -> None:
        await user.sees("stopped")
        await user.press("r")
        await user.sees("starting")
        assert agent.requests[-1][0] == "run.resume"
        assert agent.requests[-1][1]["step"] is None

    drive(agent, scenario)


def test_a_refusal_is_shown_with_its_cause(agent: ScriptedAgent) -> None:
    agent.add(RUN, "stopped")

    def refuse(_: object) -> object:
        raise KeyError("checkpoint")

    agent.answers["run.resume"] = refuse

    async def scenario(user: Driver) -> None:
        await user.sees("stopped")
        await user.press("r")
        await user.on("ProblemScreen")
        await user.sees("Could not resume", "checkpoint")
        await user.press("escape")
        await user.on("RunsScreen")
        await user.press("f8")
        await user.sees("What went wrong so far")

    drive(agent, scenario)


def test_a_lost_connection_is_a_state_with_its_age(agent: ScriptedAgent) -> None:
    agent.add(RUN)
    agent.train(RUN, 1, 7)

    async def scenario(user: Driver) -> None:
        await user.sees("7/160", "● local")
        agent.drop()
        await user.sees("connection lost 0 s ago")
        user.clock.now += 0.1
        await user.sees("7/160")
        user.clock.now += 12
        await user.until(
            lambda: "not connected, seen 12 s ago" in user.text() or "lost 12 s ago" in user.text()
        )
        agent.restore()
        await user.press("f9")
        await user.sees("● local", "live")

    drive(agent, scenario)


def test_filter_and_sort(agent: ScriptedAgent) -> None:
    agent.add(RUN, "finished", created=1.0, preset="phi-2-full")
    agent.add(OTHER, "failed", created=2.0, preset="demo")

    async def scenario(user: Driver) -> None:
        await user.sees("AAA", "BBB")
        await user.press("slash", *"phi", "enter")
        await user.sees_no("BBB")
        await user.sees("AAA", "filter: phi")
        await user.press("slash", "backspace", "backspace", "backspace", "enter")
        await user.sees("BBB")
        await user.press("o", "o", "o")
        await user.sees("by preset")

    drive(agent, scenario)
