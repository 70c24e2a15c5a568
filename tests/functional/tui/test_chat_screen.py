"""Chat: streaming, stopping, slash commands, and text that must not be interpreted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual import events

from presets.spec import resolve
from remote_agent.protocol import GpuSample, Sample
from tests.fakes.agent import ScriptedAgent
from tests.fakes.app_driver import RUN, Driver, drive
from tests.fakes.model_server import ModelServer
from tui.screens.promptbox import PromptBox


@pytest.fixture
def trained(agent: ScriptedAgent) -> ScriptedAgent:
    """An agent with a finished run and two checkpoints."""
    agent.add(RUN, "finished")
    agent.runs[RUN].spec = {"kind": "train", "config": resolve("demo").to_dict()}
    agent.checkpoint(RUN, 80)
    agent.checkpoint(RUN, 160)
    return agent


async def open_chat(user: Driver) -> ModelServer:
    await user.sees("finished")
    await user.press("c")
    await user.until(lambda: user.agent.model is not None)
    await user.sees_no("Loading")
    served = [run.status.parent for run in user.agent.runs.values() if run.status.kind == "serve"]
    assert served == [f"{RUN}@160"], "the newest checkpoint is served"
    assert user.agent.model is not None
    return user.agent.model


def test_a_reply_streams_in_and_shows_its_speed(trained: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        model = await open_chat(user)
        model.gate.clear()
        await user.press(*"hi", "enter")
        await user.sees("hi", "[SQL]", "Replying")
        assert "SELECT 1" not in user.text()
        model.gate.set()
        await user.sees("[SQL] SELECT 1 [/SQL]", "3 tokens", "first after")
        await user.press(*"more", "enter")
        await user.until(lambda: len(model.asked) == 2)
        assert [turn["role"] for turn in model.asked[1]["messages"]] == ["user", "assistant", "user"]

    drive(trained, scenario, size=(80, 24))


def test_escape_stops_a_reply_and_keeps_it(trained: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        model = await open_chat(user)
        model.gate.clear()
        await user.press(*"hi", "enter")
        await user.sees("[SQL]", "Replying")
        await user.press("escape")
        await user.sees("stopped by you; this much is kept", "[SQL]")
        model.gate.set()
        await user.press(*"on", "enter")
        await user.sees("SELECT 1")
        assert model.asked[1]["messages"][1] == {"role": "assistant", "content": "[SQL] "}

    drive(trained, scenario, size=(80, 24))


def test_slash_commands(trained: ScriptedAgent, tmp_path: Path) -> None:
    async def scenario(user: Driver) -> None:
        model = await open_chat(user)

        async def say(text: str) -> None:
            user.app.screen.query_one(PromptBox).put(text)
            await user.press("enter")

        await say("/system Answer in SQL")
        await user.sees("System prompt set")
        await say("/set temperature 0.7")
        await say("one")
        await user.sees("3 tokens")
        assert model.asked[0]["temperature"] == 0.7
        assert model.asked[0]["messages"][0] == {"role": "system", "content": "Answer in SQL"}
        model.pieces = ["other reply"]
        await say("/retry")
        await user.sees("other reply")
        assert "SELECT 1" not in user.text()
        await say(f"/save {tmp_path / 'rows.jsonl'}")
        await user.sees("Saved as a row")
        row = json.loads((tmp_path / "rows.jsonl").read_text())
        assert row["messages"][-1] == {"role": "assistant", "content": "other reply"}
        await say("/set temperature hot")
        await user.sees("temperature is not a number")
        await say("/nonsense")
        await user.sees("unknown command /nonsense")
        await say("/undo")
        await user.sees_no("other reply")
        assert user.app.screen.query_one(PromptBox).text == "one"
        await say("/new")
        await user.sees("Ask the model something")
        await say("/quit")
        await user.on("RunsScreen")

    drive(trained, scenario, size=(120, 40))


def test_control_characters_of_a_reply_are_shown_not_interpreted(trained: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        model = await open_chat(user)
        model.pieces = ["\x1b[31mred\x1b]52;c;aGk=\x07 \u202etxt[bold]x[/bold]"]
        await user.press(*"hi", "enter")
        await user.sees("␛[31mred␛]52", "[bold]x[/bold]")
        assert "\x1b" not in user.text()
        assert "\u202e" not in user.text()

    drive(trained, scenario, size=(80, 24))


def test_a_paste_of_a_megabyte_is_sent_whole_and_does_not_freeze(trained: ScriptedAgent) -> None:
    text = "SELECT " + "x" * 1_000_000

    async def scenario(user: Driver) -> None:
        model = await open_chat(user)
        user.app.post_message(events.Paste(text))
        await user.sees("[paste 1: 1,000,007 characters, 1 lines]")
        await user.press("enter")
        await user.until(lambda: model.asked)
        assert model.asked[0]["messages"][0]["content"] == text
        await user.sees("3 tokens")

    drive(trained, scenario, size=(80, 24))


def test_a_server_that_is_refused_says_why(trained: ScriptedAgent) -> None:
    def refuse(_: object) -> object:
        raise KeyError("room for a model")

    trained.answers["run.launch"] = refuse

    async def scenario(user: Driver) -> None:
        await user.sees("finished")
        await user.press("c")
        await user.sees("The model could not be loaded", "room for a model")
        await user.press("escape")
        await user.on("RunsScreen")

    drive(trained, scenario, size=(80, 24))


def test_parameters_are_checked_as_they_are_typed(trained: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        model = await open_chat(user)
        await user.press("ctrl+o")
        await user.sees("Temperature", "Top-p", "System prompt")
        await user.press("end", "backspace", "backspace", "backspace", "9")
        await user.sees("temperature must be within")
        await user.press("backspace", "1")
        await user.sees_no("must be within")
        await user.press("ctrl+o", *"hi", "enter")
        await user.until(lambda: model.asked)
        assert model.asked[0]["temperature"] == 1.0

    drive(trained, scenario, size=(80, 24))


def test_the_base_answers_beside_the_checkpoint(trained: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        model = await open_chat(user)
        user.app.screen.query_one(PromptBox).put("/compare base")
        await user.press("enter")
        await user.sees("New prompts go to both")
        await user.until(lambda: sum(run.status.kind == "serve" for run in trained.runs.values()) == 2)
        await user.sees_no("Loading")
        await user.press(*"hi", "enter")
        await user.until(lambda: user.text().count("[SQL] SELECT 1 [/SQL]") == 2)
        assert len(model.asked) == 2
        await user.press("ctrl+b")
        await user.until(lambda: user.text().count("[SQL] SELECT 1 [/SQL]") == 1)

    drive(trained, scenario, size=(120, 40))


def test_beside_a_training_it_asks_with_what_is_free(trained: ScriptedAgent) -> None:
    trained.update(RUN, state="running", phase="training")
    gib = 1024**3

    async def scenario(user: Driver) -> None:
        await user.sees("running")
        trained.sample(
            Sample(
                1.0,
                gpus=(
                    GpuSample(0, "H100", 90.0, 70 * gib, 80 * gib),
                    GpuSample(1, "H100", 0.0, gib, 80 * gib),
                ),
            )
        )
        await user.until(lambda: "local" in user.app.context.board.samples)
        await user.press("c")
        await user.sees("Load a model beside the training?", "GPU0 H100: 10.0 GiB", "GPU1 H100: 79.0 GiB")
        await user.press("enter")
        await user.on("RunsScreen")
        assert trained.model is None
        await user.press("c", "y")
        await user.on("ChatScreen")
        await user.until(lambda: trained.model is not None)

    drive(trained, scenario)
