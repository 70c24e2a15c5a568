"""Where the Hub's token comes from."""

from __future__ import annotations

from pathlib import Path

from tui.operations.hub import hub_secrets


def test_the_variable_wins_over_the_file_and_nothing_is_made_up(tmp_path: Path) -> None:
    assert hub_secrets({"HF_HOME": str(tmp_path)}) == {}
    (tmp_path / "token").write_text("hf_kept\n")
    assert hub_secrets({"HF_HOME": str(tmp_path)}) == {"HF_TOKEN": "hf_kept"}
    assert hub_secrets({"HF_HOME": str(tmp_path), "HF_TOKEN": "hf_set"}) == {"HF_TOKEN": "hf_set"}
