"""Trains with the real Axolotl and looks at everything that finetui promises of it. Run by hand.

It is no test of the suite: its environment has 190 packages beside LLaMA-Factory's, and took eight minutes to
build on a busy machine with two cores. Run it after a change of the pins or of the entry: 2.5 minutes.

Usage: python tests/tools/axolotl_run.py     (FINETUI_ENVIRONMENTS_DIR is used)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from presets import demo
from tui.operations.targets import connect

SETS = (
    "max_steps=12",
    "save_steps=6",
    "eval_share=0.1",
    "eval_steps=6",
    "launcher=torchrun",
    "zero_stage=null",
)
#: What `metrics` shows of either trainer.
KEYS = {"step", "total", "epoch", "loss", "lr", "grad_norm", "tokens", "tokens_per_s", "s_per_step", "eta_s"}
#: A user's own file, as it may be found on the web; the model is made small by --set.
OWN = """\
base_model: codellama/CodeLlama-7b-hf
datasets:
  - {path: rows.jsonl, type: chat_template}
chat_template: chatml
adapter: lora
lora_r: 8
lora_target_linear: true
sequence_len: 256
micro_batch_size: 8
max_steps: 4
save_steps: 2
optimizer: adamw_bnb_8bit
learning_rate: 0.002
bf16: auto
flash_attention: true
deepspeed: deepspeed_configs/zero2.json
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ft-") as folder:
        place = Path(folder)
        os.environ |= {
            "FINETUI_HOME": str(place / "home"),
            "FINETUI_STATE_DIR": str(place / "state"),
            "FINETUI_RUNTIME_DIR": str(place / "rt"),
        }
        (place / "rt").mkdir(mode=0o700)
        default = Path.home() / ".local/state/finetui/environments"
        os.environ.setdefault("FINETUI_ENVIRONMENTS_DIR", str(default))
        demo.write_dataset(place / "rows.jsonl")
        (place / "own.yaml").write_text(OWN)
        try:
            look_at_a_preset(place)
            look_at_an_own_file(place)
        finally:
            for entry in finetui("runs")[0]:
                if entry["state"] not in ("finished", "stopped", "failed", "lost"):
                    finetui("stop", entry["run"], "--force")
            with connect("local") as client:
                client.request("agent.handover", {"build": "none"})


def look_at_a_preset(place: Path) -> None:
    run = launch("demo", place, "trainer=axolotl", *SETS)
    records = finetui("metrics", run)[0]
    logs = [record for record in records if record["event"] == "log"]
    say("the same numbers as with LLaMA-Factory", bool(logs) and logs[-1].keys() >= KEYS)
    say("evaluated", any(record["event"] == "eval" and record["eval_loss"] for record in records))
    found = finetui("checkpoints", run)[0]
    say(
        "checkpoints complete and resumable", [item["step"] for item in found if item["resumable"]] == [6, 12]
    )
    first = logs[-1]["loss"]
    finetui("resume", f"{run}@6")
    follow(run)
    logs = [record for record in finetui("metrics", run)[0] if record["event"] == "log"]
    say(f"a resume ends as the first attempt did ({first:.6f})", abs(logs[-1]["loss"] - first) < 1e-3)
    say("it chats", finetui("chat", run, "-m", "How many?", "--max-tokens", "8")[0]["tokens"] > 0)
    telemetry = Path(os.environ["FINETUI_STATE_DIR"]) / "runs" / run / "log"
    say("no telemetry notice", "posthog" not in telemetry.read_text().lower())


def look_at_an_own_file(place: Path) -> None:
    run = launch(str(place / "own.yaml"), place, "tiny_model.layers=2")
    found = finetui("checkpoints", run)[0]
    say("an own YAML trains under ZeRO-2", [item["step"] for item in found if item["complete"]] == [2, 4])
    made = finetui("export", run, "--merge")[0]
    say("its LoRA merges", made["merged"] and made["largest_difference"] < 0.01)


def launch(preset: str, place: Path, *sets: str) -> str:
    changes = [argument for item in sets for argument in ("--set", item)]
    launched = finetui("launch", preset, "--data", str(place / "rows.jsonl"), *changes, "--follow")
    return str(launched[0]["run"])


def follow(run: str) -> None:
    subprocess.run(
        [str(Path(sys.executable).parent / "finetui"), "logs", run, "-f"],
        stdout=subprocess.DEVNULL,
        check=True,
    )


def finetui(*arguments: str) -> list[Any]:
    """Run a command with --json and return its documents."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "finetui"), *arguments, "--json"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"finetui {' '.join(arguments)} gave {done.returncode}:\n{done.stdout}{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def say(what: str, holds: bool) -> None:
    print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)
    if not holds:
        sys.exit(1)


if __name__ == "__main__":
    main()
