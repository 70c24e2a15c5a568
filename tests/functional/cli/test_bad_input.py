"""Bad input: one clear message that says what to do, the contract's exit code, nothing left behind."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tests.fakes.command_line import Done, finetui


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"q{i}", "completion": f"a{i}"}) + "\n" for i in range(80)))
    return path


def refused(done: Done, *words: str, code: int = 2) -> None:
    assert done.code == code, done.err + done.out
    for word in words:
        assert word in done.err
    assert done.out == ""
    runs = Path(os.environ["FINETUI_STATE_DIR"]) / "runs"
    assert not runs.exists() or not list(runs.iterdir()), "a run was left behind"
    assert not (Path(os.environ["FINETUI_HOME"]) / "data" / "history").exists()


def write(tmp_path: Path, data: bytes, name: str = "bad.jsonl") -> str:
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def launch(data: str, *options: str, preset: str = "demo") -> Done:
    return finetui("launch", preset, "--data", data, "--on", "local", *options)


def test_missing_dataset(tmp_path: Path) -> None:
    refused(launch(str(tmp_path / "none.jsonl")), "none.jsonl", "fix:")


def test_empty_dataset(tmp_path: Path) -> None:
    refused(launch(write(tmp_path, b"")), "bad.jsonl", "fix:")


def test_row_without_its_column_is_numbered(tmp_path: Path) -> None:
    good = b'{"prompt": "a", "completion": "b"}\n'
    refused(launch(write(tmp_path, good * 2 + b'{"prompt": "a"}\n')), "row 3", "completion")


def test_broken_json_has_line_and_column(tmp_path: Path) -> None:
    good = b'{"prompt": "a", "completion": "b"}\n'
    refused(launch(write(tmp_path, good + b'{"prompt": "a", completion}\n')), "line 2", "column 17")


def test_not_utf_8(tmp_path: Path) -> None:
    refused(launch(write(tmp_path, b'{"prompt": "\xff", "completion": "b"}\n')), "UTF-8")


def test_unknown_preset_offers_the_nearest(rows: Path) -> None:
    refused(
        launch(str(rows), preset="mistral-7b-instruct-ful"), "mistral-7b-instruct-full", "finetui presets"
    )


def test_unknown_setting_offers_the_nearest(rows: Path) -> None:
    refused(launch(str(rows), "--set", "learning_rat=1"), "learning_rat", "learning_rate")


def test_value_of_the_wrong_type(rows: Path) -> None:
    refused(launch(str(rows), "--set", "epochs=many"), "epochs", "a number")


def test_mapping_of_an_unknown_role(rows: Path) -> None:
    refused(launch(str(rows), "--map", "prompt=question"), "question", "prompt")


def test_a_preset_that_can_t_fit_this_machine(rows: Path) -> None:
    refused(launch(str(rows), preset="mistral-7b-instruct-full"), "GPU", "fix:")


def test_malformed_target(rows: Path) -> None:
    refused(finetui("launch", "demo", "--data", str(rows), "--on", "no such; target"), "not a target")


def test_a_target_that_refuses_is_exit_code_3() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = taken.getsockname()[1]
        refused(finetui("doctor", f"nobody@127.0.0.1:{port}"), "127.0.0.1", "fix:", code=3)


def test_unknown_run() -> None:
    refused(finetui("status", "01ARZ3NDEKTSV4RRFFQ69G5FAV"), "there is no run", "finetui runs")


@pytest.mark.parametrize("name", ["../../etc", "a/b", "RUN@", "RUN@last", "", "RUN@-1"])
def test_a_name_that_is_no_run(name: str) -> None:
    done = finetui("status", name)
    assert done.code == 2
    assert "fix:" in done.err


def test_wrong_use_is_exit_code_2() -> None:
    for arguments in (["launch"], ["nonsense"], ["runs", "--nonsense"], ["logs", "X", "-n", "many"]):
        done = finetui(*arguments)
        assert done.code == 2
        assert "usage: finetui" in done.err


def test_errors_as_json(tmp_path: Path) -> None:
    done = launch(str(tmp_path / "none.jsonl"), "--json")
    refused(done)
    error = json.loads(done.err)["error"]
    assert "none.jsonl" in error["message"]
    assert error["remedy"]
    assert error["exit_code"] == 2


def test_a_folder_that_is_not_empty_is_left_alone(rows: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    refused(launch(str(rows), "--dry-run", str(folder)), "mine", "fix:")
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_dry_run_writes_the_folder_and_prints_the_command(rows: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = launch(str(rows), "--dry-run", str(folder), preset="mistral-7b-instruct-full")
    assert done.code == 0, done.err
    assert "deepspeed" in done.out
    assert (folder / "llamafactory.yaml").is_file()
    assert (folder / "data" / "dataset_info.json").is_file()
    assert not (Path(os.environ["FINETUI_STATE_DIR"])).exists(), "a dry run touches no target"


def test_a_folder_that_can_t_be_made_is_named(rows: Path, tmp_path: Path) -> None:
    refused(launch(str(rows), "--dry-run", str(rows / "out")), "rows.jsonl", "fix:")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl"]


def test_without_a_terminal_the_app_points_to_the_command_line() -> None:
    refused(finetui(), "terminal", "finetui --help")


def test_a_history_damaged_by_hand_is_survived(tmp_path: Path) -> None:
    folder = Path(os.environ["FINETUI_HOME"]) / "data" / "history"
    for name, text in (("01ARZ3NDEKTSV4RRFFQ69G5FAV", "{"), ("junk", "x")):
        (folder / name).mkdir(parents=True)
        (folder / name / "run.json").write_text(text)
    done = finetui("runs", "--json")
    assert (done.code, done.json) == (0, [])


def test_an_unknown_key_in_the_settings_is_named_with_the_nearest() -> None:
    path = Path(os.environ["FINETUI_HOME"]) / "config" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('target = ["gpu1"]\n')
    refused(finetui("targets"), "config.toml", "'target'", "targets")
