"""Launch: choosing, filling in, seeing what it means, launching."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.fakes.agent import ScriptedAgent
from tests.fakes.app_driver import Driver, drive


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    pairs = [{"question": f"How many {n}?", "context": "CREATE TABLE t (n INT)", "answer": f"[{n}]"}
             for n in range(80)]  # fmt: skip
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return path


async def open_form(user: Driver) -> None:
    await user.sees("No runs yet")
    await user.press("n")
    await user.sees("demo", "Ready to launch")


def field(user: Driver, key: str) -> Input:
    return user.app.screen.query_one(f"#field-{key}", Input)


def test_the_preview_shows_rows_command_and_yaml(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await open_form(user)
        await user.sees("72 rows", "How long is the Loire?", "question is the prompt", "Memory, estimated")
        await user.press("f5", "f7", "end")
        await user.sees("Command", "deepspeed", "LLaMA-Factory YAML", "cutoff_len: 256")

    drive(agent, scenario, size=(140, 50))


def test_own_data_and_settings_reach_the_agent(agent: ScriptedAgent, rows: Path) -> None:
    async def scenario(user: Driver) -> None:
        await open_form(user)
        field(user, "data").value = str(rows)
        field(user, "micro_batch").value = "4"
        await user.sees("80 rows", "How many 0?")
        await user.press("ctrl+l")
        await user.on("RunScreen")
        await user.sees("preparing", "demo")
        launched = next(params for method, params in agent.requests if method == "run.launch")
        assert launched["spec"]["config"]["micro_batch"] == 4
        assert "data/train.jsonl" in launched["files"]

    drive(agent, scenario)


def test_a_failing_field_says_why_beside_it(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await open_form(user)
        field(user, "micro_batch").value = "many"
        await user.sees("micro_batch must be a whole number")
        await user.press("ctrl+l")
        await user.until(lambda: user.app.focused is field(user, "micro_batch"))
        assert not agent.runs
        field(user, "micro_batch").value = "8"
        await user.sees("Ready to launch")

    drive(agent, scenario)


def test_a_missing_dataset_is_said_and_nothing_is_launched(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await open_form(user)
        field(user, "data").value = "/nowhere/rows.jsonl"
        await user.sees("/nowhere/rows.jsonl")
        await user.until(lambda: "Ready to launch" not in user.text())
        await user.press("ctrl+l")
        await user.press("escape")
        await user.on("RunsScreen")
        assert not agent.runs

    drive(agent, scenario)


def test_a_path_is_completed(agent: ScriptedAgent, rows: Path) -> None:
    async def scenario(user: Driver) -> None:
        await open_form(user)
        await user.press("f4")
        await user.until(lambda: user.app.focused is field(user, "data"))
        field(user, "data").value = str(rows.parent) + "/"
        await user.press("end", "r", "o")
        await user.until(lambda: field(user, "data")._suggestion.endswith("rows.jsonl"))
        await user.press("right")
        assert field(user, "data").value == str(rows)

    drive(agent, scenario)


def test_a_small_window_has_tabs(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await user.sees("No runs yet")
        await user.press("n")
        await user.sees("F3 Presets", "F4 Settings", "F5 Preview", "Two CPU cores")
        await user.press("enter")
        await user.sees("Dataset", "Machine", "Learning rate")
        await user.press("f5")
        await user.sees("Ready to launch", "72 rows")

    drive(agent, scenario, size=(80, 24))


def test_a_machine_that_is_away_is_an_error_and_the_form_stays(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await open_form(user)
        agent.drop("no route to host")
        await user.sees("connection lost")
        await user.press("ctrl+l")
        await user.sees("local is not connected")
        assert type(user.app.screen).__name__ == "LaunchScreen"
        assert not agent.runs
        agent.restore()
        await user.press("ctrl+l")
        await user.on("RunScreen")

    drive(agent, scenario)


def test_more_settings_are_one_key_away(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await open_form(user)
        assert "Scheduler" not in user.text()
        await user.press("f6")
        await user.sees("Scheduler", "Warm-up")

    drive(agent, scenario, size=(120, 50))


def test_the_demo_is_one_key_from_home(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await user.sees("No runs yet")
        await user.press("t")
        await user.on("RunScreen")
        await user.sees("preparing", "environment: checking")

    drive(agent, scenario)


def test_a_draft_is_kept_as_a_preset_of_my_own(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await open_form(user)
        field(user, "learning_rate").value = "0.002"
        await user.press("ctrl+s")
        await user.on("PromptScreen")
        await user.press("enter")
        await user.sees("my-demo")
        await user.until(lambda: field(user, "learning_rate").value == "0.002")
        draft = user.app.screen.draft()  # type: ignore[attr-defined]
        assert draft.preset == "my-demo"
        assert draft.sets == ()
        await user.press("ctrl+s")
        await user.on("PromptScreen")
        user.app.screen.query_one(Input).value = "my-demo"
        await user.press("enter")
        await user.sees("there is a preset 'my-demo' already")

    drive(agent, scenario)


def test_a_preset_broken_by_hand_is_listed_with_its_fault(agent: ScriptedAgent, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "config" / "presets"
    folder.mkdir(parents=True)
    (folder / "a-broken.yaml").write_text("model: x\nmethod: full\n  zero_stage: [1\n")

    async def scenario(user: Driver) -> None:
        await open_form(user)
        await user.sees("a-broken", "Can't be used")

    drive(agent, scenario, size=(140, 50))


def test_a_mistyped_machine_is_said_and_not_tried_for_ever(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await open_form(user)
        field(user, "target").value = "nowhere.example"
        await user.press("ctrl+l")
        await user.sees("nowhere.example is not connected", "unknown machine")
        await user.until(lambda: "nowhere.example" not in user.app.context.board.links)
        field(user, "target").value = "local"
        await user.sees_no("Not launched")
        await user.press("ctrl+l")
        await user.on("RunScreen")

    drive(agent, scenario)
