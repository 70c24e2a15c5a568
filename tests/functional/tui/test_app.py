"""What holds on every screen: actions, help, palette, keys, themes, plain terminals, faults."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from presets.errors import InvalidInput
from remote_agent.protocol import Sample
from tests.fakes.agent import ScriptedAgent
from tests.fakes.app_driver import OTHER, RUN, Driver, drive
from tui import app as app_module
from tui.actions import ACTIONS, actions_for
from tui.app import FinetuiApp
from tui.config import Config
from tui.screens.chat import ChatScreen
from tui.screens.compare import CompareScreen
from tui.screens.files import FilesScreen
from tui.screens.keys_document import keys_document
from tui.screens.launch import LaunchScreen
from tui.screens.run import RunScreen
from tui.screens.runs import RunsScreen
from tui.state.run_id import new_run_id
from tui.theme import THEME_CYCLE

PLACES = {
    "app": FinetuiApp,
    "runs": RunsScreen,
    "launch": LaunchScreen,
    "run": RunScreen,
    "chat": ChatScreen,
    "compare": CompareScreen,
    "files": FilesScreen,
}


def test_every_action_is_defined_where_it_applies() -> None:
    for action in ACTIONS:
        name = action.method.partition("(")[0]
        assert hasattr(PLACES[action.place], f"action_{name}"), action.id
        assert action.help
        assert action.label


def test_no_key_means_two_things_in_one_place() -> None:
    for place in PLACES:
        keys = [key for action in actions_for(place) for key in action.keys.split(",")]
        assert len(keys) == len(set(keys)), place


@pytest.mark.parametrize("size", [(80, 24), (120, 60)])
def test_help_lists_the_keys_of_the_screen(agent: ScriptedAgent, size: tuple[int, int]) -> None:
    async def scenario(user: Driver) -> None:
        await user.sees("No runs yet")
        await user.press("question_mark")
        await user.on("HelpScreen")
        await user.sees("Keys", "Open the run under the cursor")
        if size[1] == 60:
            await user.sees(*(action.help for action in (*actions_for("runs"), *actions_for("app"))))
        await user.press("escape")
        await user.on("RunsScreen")

    drive(agent, scenario, size=size)


def test_the_palette_runs_actions_of_the_screen(agent: ScriptedAgent) -> None:
    agent.add(RUN)

    async def scenario(user: Driver) -> None:
        await user.sees("running")
        await user.press("ctrl+p")
        await user.press(*"stop")
        await user.sees("Save a checkpoint and stop the run")
        await user.press("enter")
        await user.on("ConfirmScreen")
        await user.sees("Stop run")

    drive(agent, scenario)


def test_keys_are_remapped_by_the_config(agent: ScriptedAgent) -> None:
    agent.add(RUN)
    config = Config(keys={"runs.stop": "f10", "runs.nonsense": "z"})

    async def scenario(user: Driver) -> None:
        await user.sees("running", "F10 Stop", "Unknown action 'runs.nonsense'")
        await user.press("s")
        await user.on("RunsScreen")
        await user.press("f10")
        await user.sees("Stop run")

    drive(agent, scenario, config=config)


def test_every_theme_paints_every_screen(agent: ScriptedAgent) -> None:
    agent.add(RUN)
    agent.train(RUN, 1, 20)

    async def scenario(user: Driver) -> None:
        await user.sees("20/160")
        for name in THEME_CYCLE[1:]:
            await user.press("f2")
            await user.until(lambda name=name: user.app.theme == name)
        await user.press("enter")
        await user.sees("1 loss")
        for _ in THEME_CYCLE:
            await user.press("f2")
        await user.sees("20/160")

    drive(agent, scenario)


def test_an_unknown_theme_is_a_warning(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await user.sees("Unknown theme 'neon'")

    drive(agent, scenario, config=Config(theme="neon"))


def test_without_colour_states_are_told_apart_by_marks(
    agent: ScriptedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    agent.add(RUN)
    agent.add(OTHER, "failed")

    async def scenario(user: Driver) -> None:
        await user.sees("● running", "✗ failed")
        colours = set()
        for strip in user.app.screen._compositor.render_strips(user.app.screen.size):
            for segment in strip:
                style = segment.style
                for colour in (style.color, style.bgcolor) if style else ():
                    if colour is not None and colour.triplet is not None:
                        colours.add(len(set(colour.triplet)) == 1)
        assert colours <= {True}, "only greys are painted"

    drive(agent, scenario)


@pytest.mark.parametrize("size", [(80, 24), (130, 40)])
def test_in_ascii_mode_nothing_else_is_painted(agent: ScriptedAgent, size: tuple[int, int]) -> None:
    agent.add(RUN)
    agent.train(RUN, 1, 40)
    agent.log(RUN, "Übergröße 漢字 ━━━ 100%\n".encode())

    async def scenario(user: Driver) -> None:
        await user.sees("* running")
        assert user.text().isascii()
        await user.press("enter")
        await user.sees("step 40/160", "1 loss")
        agent.sample(Sample(1.0, 10.0, 4, 1 << 30, 4 << 30, 1 << 30, 9 << 30))
        for key in "1567":
            await user.press(key)
            await user.pilot.pause()
            assert user.text().isascii()
        await user.press("escape", "n")
        await user.sees("demo", "Ready to launch" if size[0] > 100 else "Two CPU cores")
        assert user.text().isascii()

    drive(agent, scenario, size=size, config=Config(ascii=True))


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_that_cannot_draw_is_refused_with_a_hint(
    term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", term)
    with pytest.raises(InvalidInput) as refused:
        app_module.run()
    assert "finetui runs" in refused.value.remedy


def test_sixty_four_runs_are_listed_and_walked(agent: ScriptedAgent) -> None:
    runs = [new_run_id(lambda number=number: 1e9 + number) for number in range(64)]
    for number, run in enumerate(runs):
        agent.add(run, "finished", created=float(number), preset=f"preset-{number}")

    async def scenario(user: Driver) -> None:
        await user.sees("64 runs", "preset-63")
        assert "preset-0 " not in user.text()
        await user.press("G")
        await user.sees("preset-0 ", runs[0])
        await user.press("g")
        await user.sees("preset-63", runs[63])

    drive(agent, scenario, size=(80, 24))


def test_the_end_of_a_run_is_announced_on_any_screen(agent: ScriptedAgent) -> None:
    agent.add(RUN)

    async def scenario(user: Driver) -> None:
        await user.sees("running")
        await user.press("n")
        await user.on("LaunchScreen")
        agent.update(RUN, state="failed", message="CUDA out of memory")
        await user.sees("Run 000AAA failed: CUDA out of memory")

    drive(agent, scenario)


def test_a_fault_of_ours_is_shown_and_the_app_goes_on(agent: ScriptedAgent) -> None:
    agent.add(RUN)

    async def scenario(user: Driver) -> None:
        await user.sees("running")

        def broken() -> None:
            raise ZeroDivisionError("a bug")

        user.app.screen.in_background("count", broken, lambda _: None)  # type: ignore[attr-defined]
        await user.sees("Something broke", "ZeroDivisionError: a bug", "not touched")
        await user.press("escape")
        await user.sees("running")

    drive(agent, scenario)


def test_quitting_does_not_wait_for_a_machine_that_does_not_answer(agent: ScriptedAgent) -> None:
    hangs = threading.Event()

    def connect(target: str) -> object:
        hangs.wait(60)
        raise InvalidInput("too late")

    agent.connect = connect  # type: ignore[assignment,method-assign]

    async def scenario(user: Driver) -> None:
        await user.sees("connecting")
        await user.press("q")

    start = time.monotonic()
    drive(agent, scenario)
    assert time.monotonic() - start < 20
    hangs.set()


def test_the_page_of_keys_is_up_to_date() -> None:
    page = Path(__file__).parents[3] / "docs" / "KEYS.md"
    assert page.read_text(encoding="utf-8") == keys_document(), (
        "write it again: python -m tui.screens.keys_document > docs/KEYS.md"
    )
