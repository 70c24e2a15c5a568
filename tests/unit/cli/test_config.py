"""The settings file: missing is fine, everything wrong is named with its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from presets.errors import InvalidInput
from tui import paths
from tui.config import Config, load_config


def test_a_missing_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_config(tmp_path / "config.toml") == Config()


def test_settings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('theme = "dark"\nascii = true\ntargets = ["gpu1"]\n[keys]\n"run.stop" = "x"\n')
    assert load_config(path) == Config("dark", True, ("gpu1",), {"run.stop": "x"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("theem = 'x'", ["'theem'", "'theme'"]),
        ("zzzzzz = 1", ["'zzzzzz'", "targets"]),
        ("ascii = 1", ["ascii", "true or false"]),
        ("targets = 'gpu1'", ["targets", "a list of strings"]),
        ("targets = [1]", ["targets", "a list of strings"]),
        ("theme = \nascii = true", ["not TOML", "line 1"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        load_config(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_places_follow_finetui_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUI_HOME", str(tmp_path))
    assert paths.history_dir() == tmp_path / "data" / "history"
    monkeypatch.delenv("FINETUI_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert paths.data_dir() == tmp_path / "xdg" / "finetui"
