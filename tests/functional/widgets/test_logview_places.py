"""The log view: wrapping, going to a place, marking while typing, the line that is still being written."""

import pytest

from tests.functional.widgets.test_logview import drive, more, numbered, shown, until
from tui.state.logjump import StepTime
from tui.state.spool import LogSpool


@pytest.fixture
def spool(tmp_path):
    spool = LogSpool(tmp_path / "log")
    spool.feed(0, numbered(0, 100))
    return spool


def test_wrap_shows_all_of_a_long_line_at_the_end_and_from_the_start(spool):
    more(spool, b"a" * 79 + b"b" * 79 + b"c" * 10 + b"\n")

    async def scenario(app, view, pilot):
        assert shown(view)[-1] == "a" * 79 + "b"
        await pilot.press("w")
        assert shown(view)[-3:] == ["a" * 79, "b" * 79, "c" * 10], "nothing under the scroll bar"
        assert "wrapped" in view.status
        assert view.following
        first = shown(view)[0]
        await pilot.press("up")
        assert shown(view)[1] == first, "one line up, nothing skipped"
        assert "paused" in view.status
        more(spool, b"d" * 100 + b"\n")
        view.log_grew()
        await until(pilot, lambda: "+1 lines" in view.status, "the count")
        await pilot.press("G")
        assert shown(view)[-2:] == ["d" * 79, "d" * 21]
        await pilot.press("w")
        assert shown(view)[-1] == "d" * 80

    drive(scenario, spool)


def test_every_line_is_passed_when_paging_through_wrapped_lines(spool):
    more(spool, b"".join(b"%04d " % number + b"x" * 200 + b"\n" for number in range(50)))

    async def scenario(app, view, pilot):
        await pilot.press("w", "g")
        seen = set()
        for _ in range(200):
            seen |= {line[:4] for line in shown(view) if line[4:5] == " " and line[:4].isdigit()}
            await pilot.press("down")
        assert {f"{number:04d}" for number in range(50)} <= seen

    drive(scenario, spool, size=(60, 12))


def test_a_wrapped_line_is_clicked_and_copied_whole(spool):
    more(spool, b"e" * 150 + b"\n")

    async def scenario(app, view, pilot):
        await pilot.press("w")
        await pilot.click(view, offset=(3, view.size.height - 1))
        await pilot.press("y")
        await until(pilot, lambda: app.copied, "copied")
        assert app.copied[0].text == "e" * 150

    drive(scenario, spool)


STEPS = b"".join(
    b"\r %d%%|###| %d/100 [00:01<00:09]\r{'loss': '%d'}\n[INFO] 2026-01-01 14:%02d:00,1 >> x\n"
    % (step, step, step, step % 60)
    for step in range(0, 100, 5)
)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("step 25", "{'loss': '25'}"),
        ("s27", "{'loss': '30'}"),
        ("14:50", "[INFO] 2026-01-01 14:50:00,1 >> x"),
        ("3", "line 2"),
        ("999999", "[INFO] 2026-01-01 14:35:00,1 >> x"),
    ],
)
def test_a_step_a_time_or_a_line_is_gone_to(spool, typed, line):
    more(spool, STEPS)

    async def scenario(app, view, pilot):
        keys = ["space" if char == " " else "colon" if char == ":" else char for char in typed]
        await pilot.press("colon", *keys, "enter")
        await until(pilot, lambda: not view.following, "gone there")
        await pilot.press("y")
        await until(pilot, lambda: app.copied, "copied")
        assert app.copied[0].text == line

    drive(scenario, spool)


def test_a_step_that_no_line_names_is_found_by_the_time_at_which_it_was_logged(tmp_path):
    spool = LogSpool(tmp_path / "log")
    spool.feed(0, b"".join(b"2026-01-01 14:%02d:00 working\n" % minute for minute in range(60)))
    plain = LogSpool(tmp_path / "plain")
    plain.feed(0, numbered(0, 1000))
    half_past_two = 1_767_277_800.0

    def ask(line):
        async def scenario(app, view, pilot):
            app.panel._when = lambda step: StepTime(half_past_two, 0.5) if step == 7 else None
            await pilot.press("colon", *"s7", "enter")
            await until(pilot, lambda: not view.following, "gone there")
            assert line in shown(view)

        return scenario

    drive(ask("2026-01-01 14:30:00 working"), spool)
    drive(ask("line 500"), plain)


@pytest.mark.parametrize("typed", ["nonsense", "-3", "25:"])
def test_a_place_that_is_none_is_said(spool, typed):
    async def scenario(app, view, pilot):
        await pilot.press("colon", *["colon" if char == ":" else char for char in typed], "enter")
        await until(pilot, lambda: "type step 120" in str(app.panel.bar.query_one("Label").render()), "said")
        assert view.following

    drive(scenario, spool)


def test_a_step_that_is_nowhere_is_said(spool):
    async def scenario(app, view, pilot):
        await pilot.press("colon", *"s7", "enter")
        await until(pilot, lambda: "no such place" in view.status, "said")

    drive(scenario, spool)


def test_what_would_be_found_is_marked_while_typing(spool):
    async def scenario(app, view, pilot):
        def marked():
            style = view.get_component_rich_style("log--match")
            return any(part.style.bgcolor == style.bgcolor for part in view.render_line(5) if part.style)

        assert not marked()
        await pilot.press("slash", *"ine")
        await until(pilot, marked, "marked")
        await pilot.press("(")
        await pilot.press("escape")
        await until(pilot, lambda: not marked(), "marked no more")
        assert "/ " not in view.status

    drive(scenario, spool)


def test_the_line_that_is_still_being_written_is_found_too(spool):
    more(spool, b"step 1 of")

    async def scenario(app, view, pilot):
        await pilot.press("slash", *"step", "enter")
        await until(pilot, lambda: "/ 1/1" in view.status, "the open line")
        more(spool, b" 9\nstep 2")
        view.log_grew()
        await until(pilot, lambda: "/ 1/2" in view.status, "both, each once")
        await pilot.press("ampersand", *"step 2".replace(" ", "_").split("_")[0], "enter")
        await until(pilot, lambda: "& 2 matches" in view.status or "& 2 match" in view.status, "filtered")
        assert shown(view)[:2] == ["step 1 of 9", "step 2"]

    drive(scenario, spool)
