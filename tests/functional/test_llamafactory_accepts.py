"""LLaMA-Factory's own argument parser, in the real trainer environment, accepts what presets render.

Only arguments are parsed: no model is downloaded. Its parser refuses DeepSpeed outside a distributed launch,
so it runs in the one rank of a real torchrun; what only a GPU allows (bf16) is adapted by the pod's entry
module, as in a run.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from presets import catalog, demo
from presets.render import render
from presets.spec import resolve

pytestmark = [pytest.mark.trainer, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).parents[2]

#: Parses every folder named, in one process: the imports take many seconds.
PARSE = """
import json, os, sys
from pathlib import Path
os.environ.setdefault("DS_ACCELERATOR", "cpu")
from llamafactory.data.parser import get_dataset_list
from llamafactory.data.template import TEMPLATES
from llamafactory.hparams import get_train_args
from remote_agent.trainers.llamafactory import adapt_to_cpu, read_arguments

import torch

results = {}
for folder in sys.argv[1:]:
    os.chdir(folder)
    arguments = read_arguments(["llamafactory.yaml", "output_dir=output"])
    if not torch.cuda.is_available():
        arguments, _ = adapt_to_cpu(arguments)
    try:
        model, data, training, finetuning, _ = get_train_args(arguments)
    except Exception as error:
        results[Path(folder).name] = f"{type(error).__name__}: {error}"
        continue
    dataset = get_dataset_list(data.dataset, data.dataset_dir)[0]
    results[Path(folder).name] = {
        "template": data.template in TEMPLATES,
        "method": finetuning.finetuning_type,
        "bits": model.quantization_bit,
        "stage": finetuning.stage,
        "zero": training.deepspeed and training.hf_deepspeed_config.config["zero_optimization"]["stage"],
        "batch": training.per_device_train_batch_size * training.gradient_accumulation_steps,
        "eval": training.eval_strategy.value,
        "warmup": training.warmup_steps,
        "max_steps": training.max_steps,
        "cutoff_len": data.cutoff_len,
        "formatting": dataset.formatting,
        "ranking": dataset.ranking,
        "model": model.model_name_or_path,
    }
Path(os.environ["RESULTS"]).write_text(json.dumps(results))
"""

VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{name: (name, ()) for name in catalog.names()},
    "freeze": ("demo", ("method=freeze", "model=a/b", "tiny_model=null")),
    "packed-and-evaluated": ("demo", ("packing=true", "eval_share=0.1", "warmup=0.1", "max_steps=7")),
    "offload": ("phi-2-full", ("zero=3", "offload_optimizer=true", "offload_param=true")),
    "no-deepspeed": ("demo", ("zero_stage=null", "launcher=torchrun", "save_limit=null")),
}


def announce_extras(folder: Path) -> None:
    """Let the parser find the packages that only GPU runs install: it asks for their versions, no more."""
    for pin in (REPOSITORY / "presets" / "extras").glob("*.txt"):
        name, _, version = pin.read_text().strip().partition("==")
        place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture(scope="module")
def accepted(trainer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What LLaMA-Factory made of each rendered folder; text instead of values where it refused."""
    place = tmp_path_factory.mktemp("rendered folders")
    rows = place / "rows.jsonl"
    demo.write_dataset(rows)
    text = place / "text.jsonl"
    text.write_text('{"text": "once upon a time"}\n')
    pairs = place / "pairs.jsonl"
    pairs.write_text('{"prompt": "Say hello.", "chosen": "Hello!", "rejected": "Go away."}\n')
    data = {"sft": rows, "pt": text, "dpo": pairs}
    folders = []
    for name, (preset, sets) in VARIANTS.items():
        spec = resolve(preset, sets)
        folders.append(str(render(spec, data[spec.stage], None, place / name).folder))
    announce_extras(place / "extras")
    script = place / "parse.py"
    script.write_text(PARSE)
    launcher = [str(trainer_python), "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1"]
    path = f"{REPOSITORY}:{place / 'extras'}"
    done = subprocess.run(
        [*launcher, str(script), *folders],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "RESULTS": str(place / "results.json"),
        },
        cwd=place,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    results: dict[str, Any] = json.loads((place / "results.json").read_text())
    return results


@pytest.mark.parametrize("name", VARIANTS)
def test_llamafactory_accepts_the_yaml_and_reads_it_as_it_was_meant(
    accepted: dict[str, Any], name: str
) -> None:
    spec = resolve(*VARIANTS[name])
    seen = accepted[name]
    assert isinstance(seen, dict), seen
    assert seen == {
        "template": True,
        "method": "lora" if spec.method == "qlora" else spec.method,
        "bits": spec.quantization_bit,
        "stage": spec.stage,
        "zero": spec.zero_stage,
        "batch": spec.micro_batch * spec.gradient_accumulation,
        "eval": "steps" if spec.eval_share else "no",
        "warmup": spec.warmup,
        "max_steps": spec.max_steps or -1,
        # With packing LLaMA-Factory keeps one token of each pack for itself.
        "cutoff_len": spec.cutoff_len - spec.packing,
        "formatting": "alpaca" if spec.stage == "pt" else "sharegpt",
        "ranking": spec.stage == "dpo",
        "model": "./model" if spec.tiny_model else spec.model,
    }
