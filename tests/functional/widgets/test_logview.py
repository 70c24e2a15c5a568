"""The log view in a real app: follow, pause, finding, filtering, copying; nothing hostile comes out."""

import asyncio

import pytest
from textual.app import App, ComposeResult

from tui.state.spool import LogSpool
from tui.widgets.logpanel import LogPanel
from tui.widgets.logview import LogView


class Demo(App[None]):
    def __init__(self, spool: LogSpool) -> None:
        super().__init__()
        self.panel = LogPanel(spool)
        self.copied: list[LogView.Copied] = []

    def compose(self) -> ComposeResult:
        yield self.panel

    def on_log_view_copied(self, message: LogView.Copied) -> None:
        self.copied.append(message)


def shown(view: LogView) -> list[str]:
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


def drive(scenario, spool, size=(80, 24)):
    async def main() -> None:
        app = Demo(spool)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            app.panel.view.focus()
            await pilot.pause()
            await scenario(app, app.panel.view, pilot)

    asyncio.run(main())


async def until(pilot, condition, what: str) -> None:
    for _ in range(300):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError(f"never happened: {what}")


def numbered(first: int, stop: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(first, stop))


@pytest.fixture
def spool(tmp_path):
    spool = LogSpool(tmp_path / "log")
    spool.feed(0, numbered(0, 1000))
    return spool


def more(spool: LogSpool, data: bytes) -> None:
    spool.feed(spool.size, data)


def test_opens_at_the_end_and_follows(spool):
    async def scenario(app, view, pilot):
        assert shown(view)[-1] == "line 999"
        more(spool, numbered(1000, 1100))
        view.log_grew()
        await until(pilot, lambda: shown(view)[-1] == "line 1099", "it follows")
        assert "1,100 lines  following" in view.status

    drive(scenario, spool)


@pytest.mark.parametrize("key", ["up", "k", "pageup", "home", "g"])
def test_any_upward_move_pauses_and_new_lines_are_counted(spool, key):
    async def scenario(app, view, pilot):
        await pilot.press(key)
        held = shown(view)
        more(spool, numbered(1000, 1012))
        view.log_grew()
        await until(pilot, lambda: "+12 lines" in view.status, "the count")
        assert shown(view) == held
        for resume in ("G",):
            await pilot.press(resume)
        assert shown(view)[-1] == "line 1011"
        assert view.following

    drive(scenario, spool)


@pytest.mark.parametrize("key", ["end", "G", "f"])
def test_end_and_f_follow_again(spool, key):
    async def scenario(app, view, pilot):
        await pilot.press("home", key)
        assert view.following
        assert shown(view)[-1] == "line 999"

    drive(scenario, spool)


def test_the_mouse_wheel_pauses(spool):
    async def scenario(app, view, pilot):
        from textual import events

        await pilot._post_mouse_events([events.MouseScrollUp], view, offset=(5, 5))
        await until(pilot, lambda: not view.following, "paused")

    drive(scenario, spool)


def test_a_burst_is_one_update(spool):
    changes = []

    async def scenario(app, view, pilot):
        original = view._tick
        view._tick = lambda: (changes.append(1), original())
        for number in range(500):
            more(spool, b"x%d\n" % number)
            view.log_grew()
        await until(pilot, lambda: shown(view)[-1] == "x499", "all lines")
        assert len(changes) <= 2

    drive(scenario, spool)


def test_find_shows_the_first_hit_the_count_and_goes_round(spool):
    async def scenario(app, view, pilot):
        await pilot.press("home", "slash", *"9[05]$", "enter")
        await until(pilot, lambda: "/ 1/20" in view.status, "first hit")
        assert "line 90" in shown(view)
        await pilot.press("n")
        assert "/ 2/20" in view.status
        await pilot.press("N", "N")
        assert "/ 20/20" in view.status
        assert "line 995" in shown(view)
        assert not view.following
        label = app.panel.bar.query_one("Label")
        await until(pilot, lambda: "/ 20/20" in str(label.render()), "the status line says so")

    drive(scenario, spool)


def test_find_at_the_end_finds_backwards(spool):
    async def scenario(app, view, pilot):
        view.find("line 5$")
        await until(pilot, lambda: "line 5" in shown(view), "the only hit")

    drive(scenario, spool)


def test_new_lines_are_matched_on_arrival(spool):
    async def scenario(app, view, pilot):
        view.find("ERROR")
        await until(pilot, lambda: view._rows.find.done, "scanned")
        more(spool, b"an ERROR\nlast\n")
        view.log_grew()
        await until(pilot, lambda: "/ 1" in view.status, "counted")

    drive(scenario, spool)


def test_filter_shows_matching_lines_only_also_new_ones(spool):
    async def scenario(app, view, pilot):
        await pilot.press("ampersand", *"99$", "enter")
        await until(pilot, lambda: [line for line in shown(view) if line][-1] == "line 999", "filtered")
        assert len([line for line in shown(view) if line]) == 10
        more(spool, b"line 1099\nother\n")
        view.log_grew()
        await until(pilot, lambda: "line 1099" in shown(view), "new match")
        await pilot.press("ampersand")
        for _ in "99$":
            await pilot.press("backspace")
        await pilot.press("enter")
        await until(pilot, lambda: shown(view)[-1] == "other", "all lines again")

    drive(scenario, spool)


def test_a_filter_without_hits_is_empty(spool):
    async def scenario(app, view, pilot):
        view.filter("nothing like this")
        await until(pilot, lambda: view._rows.filter.done, "scanned")
        await pilot.pause()
        assert not any(shown(view))
        await pilot.press("up", "y", "Y", "n", "G")
        view.filter("")
        assert shown(view)[-1] == "line 999"

    drive(scenario, spool)


def test_a_broken_expression_is_said_in_the_bar(spool):
    async def scenario(app, view, pilot):
        await pilot.press("slash", *"lo(", "enter")
        await pilot.pause()
        text = str(app.panel.bar.query_one("Label").render())
        assert "unterminated" in text
        assert view.has_focus

    drive(scenario, spool)


def test_escape_leaves_the_pattern(spool):
    async def scenario(app, view, pilot):
        await pilot.press("slash", "x", "escape")
        await pilot.pause()
        assert view.has_focus
        assert "/" not in view.status

    drive(scenario, spool)


def test_copy_a_clicked_line_and_all_matches(spool):
    async def scenario(app, view, pilot):
        await pilot.click(view, offset=(2, 3))
        await pilot.press("y")
        assert app.clipboard == shown(view)[3]
        view.find("line 99.$")
        await until(pilot, lambda: view._rows.find.done, "scanned")
        await pilot.press("Y")
        await pilot.pause()
        assert app.clipboard.split("\n") == [f"line {number}" for number in range(990, 1000)]
        assert app.copied[-1].in_clipboard
        assert app.copied[-1].lines == 10

    drive(scenario, spool)


def test_what_is_too_long_for_the_clipboard_is_handed_on(spool):
    async def scenario(app, view, pilot):
        more(spool, b"y" * 60_000 + b"\n" + b"y" * 60_000 + b"\n")
        view.find("yyy")
        view.log_grew()
        await until(pilot, lambda: len(view._rows.find) == 2, "found both")
        app.copy_to_clipboard("before")
        await pilot.press("Y")
        await pilot.pause()
        assert app.clipboard == "before"
        assert not app.copied[-1].in_clipboard
        assert len(app.copied[-1].text) == 120_001

    drive(scenario, spool)


def test_escape_sequences_never_reach_the_terminal_and_colours_do(spool):
    async def scenario(app, view, pilot):
        more(spool, b"\x1b]0;evil\x07\x1b[2J\x1b[31mred\x1b[0m \x9b2J plain\xff\n 10%\r 20%\r100% done\n")
        view.log_grew()
        await until(pilot, lambda: shown(view)[-1] == "100% done", "arrived")
        strip = view.render_line(view.size.height - 2)
        assert strip.text.rstrip().startswith("red")
        assert "\x1b" not in strip.text and "\x07" not in strip.text and "\x9b" not in strip.text
        red = next(segment for segment in strip if segment.text.startswith("red"))
        assert red.style.color is not None and red.style.color.number == 1

    drive(scenario, spool)


def test_the_last_line_grows_in_place(spool):
    async def scenario(app, view, pilot):
        for text in (b"par", b"tial", b"\r10%", b"\r20%"):
            more(spool, text)
            view.log_grew()
            await pilot.pause(0.15)
        assert shown(view)[-1] == "20%"
        more(spool, b"\nnext")
        view.log_grew()
        await until(pilot, lambda: shown(view)[-2:] == ["20%", "next"], "settled")

    drive(scenario, spool)


def test_a_long_line_scrolls_sideways_and_following_keeps_the_column(spool):
    async def scenario(app, view, pilot):
        more(spool, b"0123456789" * 2000 + b"\n")
        view.log_grew()
        await until(pilot, lambda: shown(view)[-1].startswith("0123"), "arrived")
        await until(pilot, lambda: view.virtual_size.width == 4096, "measured, and capped")
        await pilot.press("right")
        await until(pilot, lambda: shown(view)[-1].startswith("8901"), "moved")
        more(spool, b"0123456789" * 20 + b"\n")
        view.log_grew()
        await until(pilot, lambda: shown(view)[-1].startswith("8901") and "0" in shown(view)[-2], "kept")
        assert view.following

    drive(scenario, spool)


def test_a_big_file_opens_at_its_tail_and_then_knows_all(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(numbered(0, 300_000))
    spool = LogSpool(path, tail_bytes=10_000)

    async def scenario(app, view, pilot):
        await until(pilot, lambda: "300,000 lines" in view.status, "indexed")
        assert shown(view)[-1] == "line 299999"
        await pilot.press("home")
        assert shown(view)[0] == "line 0"

    drive(scenario, spool)


def test_a_replaced_log_starts_again(spool):
    async def scenario(app, view, pilot):
        await pilot.press("home")
        spool.reset()
        spool.feed(0, b"fresh\n")
        view.log_grew()
        await until(pilot, lambda: shown(view)[0] == "fresh", "the new one")
        assert view.following

    drive(scenario, spool)


def test_selection_reads_only_its_lines(spool):
    from textual.geometry import Offset
    from textual.selection import Selection

    async def scenario(app, view, pilot):
        selection = Selection(Offset(5, 3), Offset(6, 5))
        assert view.get_selection(selection) == ("3\nline 4\nline 5", "\n")
        assert view.get_selection(Selection(None, None))[0].startswith("line 0\n")

    drive(scenario, spool)


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (3, 2), (200, 60)])
def test_any_size(spool, size):
    async def scenario(app, view, pilot):
        shown(view)
        await pilot.press("slash", "9", "enter", "n", "home", "G")

    drive(scenario, spool, size=size)


def test_without_a_log():
    async def scenario(app, view, pilot):
        for key in ("up", "G", "y", "Y", "n", "f", "slash", "x", "enter"):
            await pilot.press(key)
        assert not any(shown(view))

    drive(scenario, None)


def test_keys_are_documented():
    assert LogView.help
    assert all(binding.id and binding.tooltip for binding in LogView.BINDINGS)
