"""What an export needs: its job spec and its prepared folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from presets import jobs
from presets.errors import InvalidInput
from presets.llamafactory import finetuning_type
from presets.model_card import Outcome, model_card
from presets.models import architecture
from presets.render import Prepared, prepare_folder
from presets.spec import RunSpec, from_dict

EXPORT_FILE = "export.yaml"
CARD = "README.md"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def render_export(
    training: Mapping[str, Any], run: str, outcome: Outcome, folder: Path, *, merge: bool, push: str | None
) -> Prepared:
    """Write the prepared folder of an export of ``run`` at ``outcome.step``; ``training`` is its job spec.

    Raises InvalidInput for a repository that is no owner/name or a spec that can't be read, and as
    ``presets.render`` does.
    """
    spec = from_dict(training["config"])
    if push is not None and not _REPOSITORY.fullmatch(push):
        raise InvalidInput(f"--push {push} is not a repository.", remedy="Write owner/name.")
    adapter_only = spec.method in ("lora", "qlora") and not merge
    shape = architecture(spec)
    keys = {
        "template": spec.template,
        "finetuning_type": finetuning_type(spec.method),
        "trust_remote_code": False,
        "export_size": 5,
        "merge": merge,
        "push": push,
        "weight_bytes": 2 * shape.parameters if shape is not None else None,
    }
    title = push.split("/")[1] if push is not None else f"{spec.preset}-{outcome.step}"
    card = model_card(spec, outcome, training.get("data"), adapter_only=adapter_only, title=title)
    return prepare_folder(_job(spec, run, outcome.step), {EXPORT_FILE: keys, CARD: card}, folder)


def _job(spec: RunSpec, run: str, step: int) -> dict[str, Any]:
    weights = [item for item in jobs.weights(spec, run, step) if not item.startswith("quantization_bit=")]
    argv = ["{python}", "-m", "remote_agent.trainers.export", EXPORT_FILE, *weights, "export_dir={output}"]
    return {
        "schema": 1,
        "kind": "export",
        "preset": spec.preset,
        "model": spec.model,
        "trainer": spec.trainer,
        "ranks": 1,
        "environment": jobs.llamafactory_environment(spec),
        "steps": [{"name": "export", "argv": argv, "env": {}}],
        "parent": f"{run}@{step}",
        "config": spec.to_dict(),
    }
