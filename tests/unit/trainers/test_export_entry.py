"""The export entry's own decisions; the export itself runs in tests/e2e/test_whole_export.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_agent.trainers.export import choose_device, copy_adapter

GB = 10**9


@pytest.mark.parametrize(
    ("weights", "free", "device"),
    [
        (14 * GB, None, "cpu"),
        (14 * GB, 16 * GB, "cpu"),
        (14 * GB, 24 * GB, "auto"),
        (None, 80 * GB, "cpu"),
    ],
)
def test_the_gpu_is_used_only_where_the_model_is_known_to_fit(
    weights: int | None, free: int | None, device: str
) -> None:
    assert choose_device(weights, free) == device


def test_of_an_adapter_nothing_that_only_a_resume_needs_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "checkpoint-2"
    source.mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json", "optimizer.pt", "trainer_state.json"):
        (source / name).write_text(name)
    copy_adapter(source, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "adapter_model.safetensors",
        "adapter_config.json",
    }
