"""The demo: the embedded dataset and a tiny model, on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

from presets import demo
from remote_agent.protocol import RunStatus
from tui.operations.launch import launch
from tui.operations.plan import make_plan
from tui.remote.agent_client import AgentClient


def launch_demo(client: AgentClient) -> RunStatus:
    """Write the demo's dataset and launch its preset; errors as of ``launch``."""
    with tempfile.TemporaryDirectory(prefix="finetui-demo-") as folder:
        rows = Path(folder) / "demo.jsonl"
        demo.write_dataset(rows)
        return launch(client, make_plan("demo", rows))


def training_question() -> tuple[str, str]:
    """Return a user's turn of the demo's dataset and the answer that the model was trained on."""
    row = next(demo.rows())
    return f"{row['question']}\n{row['context']}", row["answer"]
