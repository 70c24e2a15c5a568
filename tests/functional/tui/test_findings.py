"""The run screen says what looks wrong, and lists it with what to do."""

from __future__ import annotations

from tests.fakes.agent import ScriptedAgent
from tests.fakes.app_driver import RUN, Driver, drive


def test_a_line_of_the_log_is_told_in_words_and_listed(agent: ScriptedAgent) -> None:
    agent.add(RUN, phase="training")
    agent.train(RUN, 1, 10)
    agent.log(RUN, b"starting\n" * 3000)

    async def scenario(user: Driver) -> None:
        await user.sees("step 10/160")
        await user.press("a")
        await user.sees("Nothing looked wrong")
        agent.log(RUN, b"OSError: [Errno 28] No space left on dev")
        agent.log(RUN, b"ice\n")
        await user.sees("! the disk is full: delete old runs")
        agent.record(RUN, {"event": "log", "t": 1.0, "step": 11, "loss": None, "nonfinite": ["loss"]})
        await user.sees("! loss is not finite since step 11")
        await user.press("a")
        await user.sees("What looked wrong", "log: OSError: [Errno 28] No space left on device")
        await user.press("escape")

    drive(agent, scenario, open_run=RUN)


def test_a_failed_run_says_why_until_it_is_resumed(agent: ScriptedAgent) -> None:
    agent.add(RUN, "failed", exit_code=1)
    agent.train(RUN, 1, 10)
    agent.log(RUN, b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n")

    async def scenario(user: Driver) -> None:
        await user.sees("failed with exit code 1", "! a GPU ran out of memory", "smaller micro_batch")
        agent.update(RUN, state="starting")
        await user.sees_no("ran out of memory")

    drive(agent, scenario, open_run=RUN, size=(160, 40))


def test_four_findings_take_three_lines(agent: ScriptedAgent) -> None:
    agent.add(RUN, phase="training")
    agent.train(RUN, 1, 10)
    agent.log(
        RUN,
        b"No space left on device\nCannot allocate memory\nCUDA out of memory\nncclSystemError: x\n",
    )

    async def scenario(user: Driver) -> None:
        await user.sees("! a GPU ran out of memory", "! 2 more: a lists them")

    drive(agent, scenario, open_run=RUN)
