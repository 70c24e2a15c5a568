"""Comparing runs, and browsing a machine's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.agent import ScriptedAgent
from tests.fakes.app_driver import OTHER, RUN, Driver, drive
from tui.widgets.chart import Chart


def test_marked_runs_are_compared_by_step_time_and_tokens(agent: ScriptedAgent) -> None:
    for run, batch in ((RUN, 8), (OTHER, 4)):
        agent.add(run, "finished")
        agent.runs[run].spec = {
            "kind": "train",
            "config": {"micro_batch": batch, "epochs": 3.0, "model": "m"},
        }
        agent.train(run, 1, 40)

    async def scenario(user: Driver) -> None:
        await user.sees("AAA", "BBB")
        await user.press("x")
        await user.sees("Mark two or more runs")
        await user.press("space", "space", "x")
        await user.on("CompareScreen")
        await user.sees("micro_batch", "loss")
        line = next(line for line in user.text().splitlines() if "micro_batch" in line)
        assert "8" in line
        assert "4" in line
        assert "epochs" not in user.text(), "what is the same is not listed"
        chart = user.app.screen.query_one(Chart)
        await user.until(lambda: "000AAA 0.987" in chart.readout(40) and "000BBB 0.987" in chart.readout(40))
        await user.press("escape")
        await user.on("RunsScreen")

    drive(agent, scenario)


def test_the_x_axis_can_be_time_or_tokens(agent: ScriptedAgent) -> None:
    for run in (RUN, OTHER):
        agent.add(run, "finished")
        agent.train(run, 1, 40)

    async def scenario(user: Driver) -> None:
        await user.sees("AAA", "BBB")
        await user.press("space", "space", "x")
        await user.on("CompareScreen")
        chart = user.app.screen.query_one(Chart)
        await user.press("a")
        await user.until(lambda: chart.x_unit == "s")
        await user.press("a")
        await user.until(lambda: chart.x_unit == "tokens")
        await user.until(lambda: "40,960" in chart.readout(40960))

    drive(agent, scenario)


def test_files_are_browsed_shown_and_saved(
    agent: ScriptedAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    agent.add(RUN, "finished")
    agent.files = {
        f"runs/{RUN}/spec.json": b'{"preset": "demo"}\x1b[31m',
        f"runs/{RUN}/output/checkpoint-80/model.safetensors": b"\0weights",
    }

    async def scenario(user: Driver) -> None:
        await user.sees("AAA")
        await user.press("f")
        await user.sees("output/", "spec.json", f"runs/{RUN}")
        await user.press("enter")
        await user.sees("checkpoint-80/")
        await user.press("backspace")
        await user.sees("spec.json")
        await user.press("down", "enter")
        await user.sees('{"preset": "demo"}', "␛[31m")
        await user.press("escape", "w")
        await user.sees("Saved")
        assert (tmp_path / "spec.json").read_bytes() == agent.files[f"runs/{RUN}/spec.json"]
        await user.press("w")
        await user.sees("is there already")

    drive(agent, scenario)


def test_curves_are_told_apart_without_colour_and_settings_are_kept_for_offline(agent: ScriptedAgent) -> None:
    for run, batch in ((RUN, 8), (OTHER, 4)):
        agent.add(run, "finished")
        agent.runs[run].spec = {"kind": "train", "config": {"micro_batch": batch}}
        agent.train(run, 1, 40)

    async def together(user: Driver) -> None:
        await user.sees("AAA", "BBB")
        await user.press("space", "space", "v")
        await user.sees("● 000BBB 0.98", "▲ 000AAA 0.98", "micro_batch")
        # Once in the legend; at the bottom a dot stands for the connection.
        await user.until(lambda: user.text().count("●") >= 5 and user.text().count("▲") >= 4)

    async def alone(user: Driver) -> None:
        await user.sees("AAA", "BBB")
        await user.press("space", "space", "v")
        await user.sees("▲ 000AAA 0.98", "micro_batch", "8", "4")

    drive(agent, together)
    agent.drop()
    drive(agent, alone)
