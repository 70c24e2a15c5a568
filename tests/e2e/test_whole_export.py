"""An export as a user does it: a LoRA trained for real, merged, checked, pushed to a Hub, pulled, loaded."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from presets import demo
from tests.fakes.command_line import FINETUI
from tests.fakes.hub import FakeHub, Hub
from tui.operations.targets import connect

pytestmark = [pytest.mark.trainer, pytest.mark.slow, pytest.mark.timeout(900)]

TOKEN = "hf_made_up_for_this_test"
SHORT = (
    "method=lora",
    "launcher=torchrun",
    "zero_stage=null",
    "max_steps=4",
    "save_steps=2",
    "learning_rate=0.05",
)

#: Loads base and adapter, and the merged model, and asks both; nothing of finetui has a part in it.
COMPARE = """
import sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter, merged = sys.argv[1:]
tokens = AutoTokenizer.from_pretrained(merged)("SELECT name FROM t", return_tensors="pt")["input_ids"]
plain = AutoModelForCausalLM.from_pretrained(base)
with torch.no_grad():
    untrained = plain(input_ids=tokens).logits
    trained = PeftModel.from_pretrained(plain, adapter)(input_ids=tokens).logits
    exported = AutoModelForCausalLM.from_pretrained(merged)(input_ids=tokens).logits
print((trained - exported).abs().max().item(), (trained - untrained).abs().max().item())
"""


def finetui(*arguments: str, code: int = 0) -> Any:
    done = subprocess.run(
        [FINETUI, *arguments, "--json"], capture_output=True, text=True, timeout=600, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code, f"{arguments} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads((done.stdout if code == 0 else done.stderr).splitlines()[-1])


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with FakeHub() as running:
        yield running


@pytest.fixture(scope="module")
def run(
    trainer_python: Path, environments_dir: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, Path]]:
    """A LoRA run that has ended: its id, the state directory, the laptop's directory."""
    place = tmp_path_factory.mktemp("export")
    rows = place / "rows.jsonl"
    demo.write_dataset(rows)
    with tempfile.TemporaryDirectory(prefix="ft-") as runtime, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FINETUI_HOME", str(place / "home"))
        patch.setenv("FINETUI_STATE_DIR", str(place / "state"))
        patch.setenv("FINETUI_RUNTIME_DIR", runtime)
        patch.setenv("FINETUI_ENVIRONMENTS_DIR", str(environments_dir))
        # The agent is started with it; a run's steps inherit it.
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_HOME", str(place / "hf"))
        sets = [argument for item in SHORT for argument in ("--set", item)]
        launched = subprocess.run(
            [FINETUI, "launch", "demo", "--data", str(rows), "--on", "local", *sets, "--follow"],
            capture_output=True, text=True, timeout=600, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert launched.returncode == 0, launched.stdout + launched.stderr
        (entry,) = finetui("runs")
        yield entry["run"], place / "state", place / "home"
        with connect("local") as client:
            client.request("agent.handover", {"build": "999.0-none"})


@pytest.fixture(autouse=True)
def shared_places(own_places: None, run: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests of this module use the run's places."""
    _, state, home = run
    monkeypatch.setenv("FINETUI_STATE_DIR", str(state))
    monkeypatch.setenv("FINETUI_HOME", str(home))


def test_a_merged_export_answers_as_the_adapter_does_and_is_pushed(
    run: tuple[str, Path, Path],
    hub: Hub,
    trainer_python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained, state, _ = run
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    made = finetui("export", f"{trained}@2", "--merge", "--push", "someone/my-model")
    assert made["checkpoint"] == f"{trained}@2"
    assert made["merged"] is True
    assert made["largest_difference"] < 0.01
    assert made["pushed"] == f"{hub.url}/someone/my-model"

    assert hub.repositories[-1]["visibility"] == "private"
    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= set(hub.files)
    card = hub.files["README.md"].decode()
    for fact in ("finetui/tiny-llama", "demo", "rows.jsonl, 72 rows", "step 2", "Training loss", "SHA-256"):
        assert fact in card, fact

    pulled = Path(finetui("pull", made["run"], str(tmp_path))["path"])
    assert (pulled / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    parent = state / "runs" / trained
    done = subprocess.run(
        [trainer_python, "-c", COMPARE, parent / "prepared/model", parent / "output/checkpoint-2", pulled],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    apart, learned = map(float, done.stdout.split())
    assert apart < 1e-3 < learned

    for path in state.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_without_merge_the_adapter_alone_is_exported(run: tuple[str, Path, Path]) -> None:
    trained, _, _ = run
    made = finetui("export", trained)
    files = {path.name for path in Path(made["path"]).iterdir()}
    assert made["merged"] is False
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "README.md"} <= files
    assert not any(name.startswith(("optimizer", "model.")) for name in files)
    assert "library_name: peft" in (Path(made["path"]) / "README.md").read_text()


def test_nothing_is_launched_for_a_push_without_a_token_or_a_name(
    run: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, _, _ = run
    before = len(finetui("runs"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert "token" in finetui("export", trained, "--push", "someone/x", code=2)["error"]["message"]
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "is not a repository" in finetui("export", trained, "--push", "x y", code=2)["error"]["message"]
    assert len(finetui("runs")) == before
