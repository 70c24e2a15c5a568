"""The files screen: big folders, downloads with progress, deleting runs and checkpoints, the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_agent.protocol import Sample
from tests.fakes.agent import ScriptedAgent
from tests.fakes.app_driver import RUN, Driver, drive
from tui.screens.filelist import FileList

GIB = 1024**3


async def open_files(user: Driver) -> None:
    await user.sees("AAA")
    await user.press("f")
    await user.on("FilesScreen")


def test_ten_thousand_files_are_listed_page_by_page(agent: ScriptedAgent) -> None:
    agent.add(RUN, "finished")
    agent.files = {f"runs/{RUN}/shard-{number:05d}": b"x" for number in range(10_000)}

    async def scenario(user: Driver) -> None:
        await open_files(user)
        await user.sees("shard-00000")
        await user.press("G")
        await user.sees("shard-09999")
        await user.press("g", "pagedown")
        await user.sees("shard-00030")
        asked = [params for method, params in agent.requests if method == "file.list"]
        assert len(asked) == 3, "two pages of 5,000 and the empty one after them"

    drive(agent, scenario)


def test_sizes_ages_and_sorting(agent: ScriptedAgent) -> None:
    agent.add(RUN, "finished")
    agent.files = {
        f"runs/{RUN}/a": b"x",
        f"runs/{RUN}/b": b"x" * 4096,
        f"runs/{RUN}/output/model": b"x",
    }

    async def scenario(user: Driver) -> None:
        await open_files(user)
        await user.sees("4.0 KiB", "output/")
        await user.press("o")
        await user.sees("Sorted by size")
        lines = [line for line in user.text().splitlines() if line.endswith((" a", " b", " output/"))]
        assert [line.split()[-1] for line in lines] == ["output/", "b", "a"], "folders stay first"

    drive(agent, scenario)


def test_a_folder_is_downloaded_with_its_progress(
    agent: ScriptedAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    agent.add(RUN, "finished")
    checkpoint = f"runs/{RUN}/output/checkpoint-80"
    agent.files = {f"{checkpoint}/model": b"m" * 3_000_000, f"{checkpoint}/tokenizer/vocab": b"v"}

    async def scenario(user: Driver) -> None:
        await open_files(user)
        await user.sees("output/")
        await user.press("enter")
        await user.sees("checkpoint-80/")
        seen = []
        line = user.app.screen.query_one("#progress")
        update = line.update
        line.update = lambda text, **more: (seen.append(str(text)), update(text, **more))
        await user.press("w")
        await user.sees("Saved", "2.9 MiB")
        assert any("checkpoint-80" in text and "of 2.9 MiB" in text for text in seen)
        assert (tmp_path / "checkpoint-80/model").stat().st_size == 3_000_000
        assert (tmp_path / "checkpoint-80/tokenizer/vocab").read_bytes() == b"v"
        assert not list(tmp_path.glob("*.part"))

    drive(agent, scenario)


def test_deleting_a_checkpoint_says_what_it_frees_and_asks(agent: ScriptedAgent) -> None:
    agent.add(RUN, "finished")
    agent.checkpoint(RUN, 80)
    output = f"runs/{RUN}/output"
    agent.files = {f"{output}/checkpoint-80/model": b"m" * 4096, f"{output}/all_results.json": b"{}"}

    async def scenario(user: Driver) -> None:
        await open_files(user)
        await user.press("d")
        await user.sees("Only runs and checkpoints are deleted here")
        await user.press("enter")
        await user.sees("checkpoint-80/")
        await user.press("d")
        await user.sees("Delete checkpoint", "1 file, 4.0 KiB are freed")
        await user.press("escape")
        await user.on("FilesScreen")
        assert agent.runs[RUN].checkpoints
        await user.press("d")
        await user.on("ConfirmScreen")
        await user.press("y")
        await user.sees("Deleted;")
        await user.sees_no("checkpoint-80/")
        assert not agent.runs[RUN].checkpoints
        await user.sees("all_results.json")

    drive(agent, scenario)


def test_a_run_is_deleted_only_when_it_has_ended(agent: ScriptedAgent) -> None:
    agent.add(RUN)
    agent.files = {f"runs/{RUN}/log": b"x" * 100}

    async def scenario(user: Driver) -> None:
        await open_files(user)
        await user.sees("log")
        await user.press("backspace")
        await user.sees(f"{RUN}/")
        await user.press("d")
        await user.sees("stop it first")
        agent.update(RUN, state="finished")
        await user.until(lambda: not user.app.context.board.runs[RUN].active)
        await user.press("d")
        await user.sees("1 file, 100 B are freed")
        await user.press("y")
        await user.until(lambda: RUN not in agent.runs)

    drive(agent, scenario)


def test_the_disk_of_the_machine_is_shown_and_moves(agent: ScriptedAgent) -> None:
    agent.add(RUN, "finished")
    agent.files = {f"runs/{RUN}/log": b"x"}

    async def scenario(user: Driver) -> None:
        await open_files(user)
        agent.sample(Sample(1.0, disk_used_bytes=60 * GIB, disk_total_bytes=100 * GIB))
        await user.sees("40.0 GiB free of 100 GiB")
        agent.sample(Sample(2.0, disk_used_bytes=99 * GIB, disk_total_bytes=100 * GIB))
        await user.sees("1.0 GiB free of 100 GiB")

    drive(agent, scenario)


def test_names_and_texts_of_strangers_stay_text(agent: ScriptedAgent) -> None:
    agent.add(RUN, "finished")
    agent.files = {
        f"runs/{RUN}/a\x1b]0;x\x07\nb": b"\x1b]52;c;aGk=\x07 text \x1b[2J",
        f"runs/{RUN}/b": b"\0",
    }

    async def scenario(user: Driver) -> None:
        await open_files(user)
        await user.sees("␛]0;x␇ b")
        await user.press("enter")
        await user.sees("␛]52;c;aGk=␇ text ␛[2J")
        assert "\x1b" not in user.text()
        await user.press("escape", "down", "enter")
        await user.sees("b is not text")

    drive(agent, scenario)


def test_the_cursor_is_on_the_folder_that_was_left(agent: ScriptedAgent) -> None:
    agent.add(RUN, "finished")
    agent.files = {f"runs/{RUN}/{name}/x": b"" for name in ("a", "b", "c")}

    async def scenario(user: Driver) -> None:
        await open_files(user)
        await user.sees("c/")
        await user.press("down", "enter")
        await user.sees(f"{RUN}/b")
        await user.press("backspace")
        listing = user.app.screen.query_one(FileList)
        await user.until(lambda: listing.chosen is not None and listing.chosen.name == "b")

    drive(agent, scenario)
