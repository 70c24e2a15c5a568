"""RunSpec -> the job spec that the agent runs (docs/ARCHITECTURE.md, "The job spec")."""

from __future__ import annotations

import shlex
from importlib import resources
from typing import Any

import msgspec

from presets.errors import InvalidInput
from presets.spec import RunSpec, from_dict
from presets.trainer import entry, entry_by_hand, train_file

MODEL_FILE = "model.yaml"
SERVE_FILE = "serve.yaml"
#: How the placeholders read in a command for people, typed in the prepared folder.
_BY_HAND = {
    "{bin}/": "",
    "{python}": "python",
    "{accelerators_flag}": "--num_gpus",
    "{port}": "29500",
    "{output}": "output",
    "{run}/ranks": "ranks",
}


def train_job(spec: RunSpec) -> dict[str, Any]:
    """Return the job spec of a training run."""
    return {
        "schema": 1,
        "kind": "train",
        "preset": spec.preset,
        "model": spec.model,
        "trainer": spec.trainer,
        "ranks": spec.gpus,
        "environment": environment(spec),
        "steps": [*_model_steps(spec), {"name": "train", "argv": _launch(spec, entry(spec)), "env": {}}],
        "resume": {"step": "train", "argv": ["resume_from_checkpoint={checkpoint}"]},
        "config": spec.to_dict(),
    }


def serve_job(config: dict[str, Any], run: str, step: int | None, idle_s: float) -> dict[str, Any]:
    """Return the job spec of a model server for a checkpoint of ``run``; None for ``step`` is its base.

    ``config`` is the RunSpec as the run was launched with; ``idle_s`` is how many seconds the server lives
    without a request. Its prepared folder needs ``serve.yaml`` (``presets.render.render_serve``).
    Raises InvalidInput when ``config`` can't be read.
    """
    spec = from_dict(config)
    name = "base" if step is None else str(step)
    return {
        "schema": 1,
        "kind": "serve",
        "preset": spec.preset,
        "model": spec.model,
        "trainer": spec.trainer,
        "ranks": 1,
        "environment": llamafactory_environment(spec),
        "steps": [
            {
                "name": "serve",
                "argv": [
                    "{python}",
                    "-m",
                    "remote_agent.trainers.serve",
                    SERVE_FILE,
                    *weights(spec, run, step),
                ],
                "env": {"API_PORT": "{port}", "FINETUI_IDLE_S": f"{idle_s:g}"},
            }
        ],
        "parent": f"{run}@{name}",
        "config": spec.to_dict(),
    }


def environment(spec: RunSpec) -> dict[str, Any]:
    """Return the environment that the run needs, as the agent builds it; raises InvalidInput without pins.

    What only some runs need is added to the trainer's pins, so that the others' environment stays as it is.
    """
    folder = resources.files("presets")
    pins = folder / "trainers" / f"{spec.trainer}.txt"
    late = folder / "trainers" / f"{spec.trainer}-late.txt"
    if not pins.is_file():
        raise InvalidInput(
            f"There are no pins for the trainer {spec.trainer!r}.", remedy="Reinstall finetui."
        )
    text = pins.read_text(encoding="utf-8")
    extras = [
        (folder / "extras" / f"{name}.txt").read_text(encoding="utf-8") for name in extra_packages(spec)
    ]
    return {
        "name": spec.trainer,
        "pins": text + "".join(extra for extra in extras if extra.strip() not in text.splitlines()),
        "late_pins": late.read_text(encoding="utf-8") if late.is_file() else "",
        "probe": [spec.trainer, "deepspeed"],
    }


def llamafactory_environment(spec: RunSpec) -> dict[str, Any]:
    """Return the environment that serves and exports, whichever trainer made the checkpoint."""
    return environment(msgspec.structs.replace(spec, trainer="llamafactory"))


def extra_packages(spec: RunSpec) -> tuple[str, ...]:
    """Return the packages of ``extras/`` that LLaMA-Factory refuses to start without."""
    if spec.trainer == "axolotl":
        return ()  # it brings them all
    needed = {"bitsandbytes": spec.quantization_bit is not None, "liger-kernel": spec.liger}
    return tuple(name for name, is_needed in needed.items() if is_needed)


def command_by_hand(spec: RunSpec) -> str:
    """Return the same command as a person would type it in the prepared folder, shell-quoted."""
    argv = _launch(spec, entry_by_hand(spec))
    return shlex.join(_for_people(argument) for argument in argv)


def command_of(job: dict[str, Any]) -> str:
    """Return the commands that the agent will run, for people, joined by ``&&`` and shell-quoted."""
    return " && ".join(
        shlex.join(_for_people(argument) for argument in step["argv"]) for step in job["steps"]
    )


def _for_people(argument: str) -> str:
    for placeholder, text in _BY_HAND.items():
        argument = argument.replace(placeholder, text)
    return argument


def _model_steps(spec: RunSpec) -> list[dict[str, Any]]:
    if spec.tiny_model is None:
        return []
    argv = ["{python}", "-m", "remote_agent.trainers.tiny_model", MODEL_FILE]
    return [{"name": "model", "argv": argv, "env": {}, "once": True}]


def _launch(spec: RunSpec, module: str) -> list[str]:
    # Axolotl's own command line has options where ours, as LLaMA-Factory's, has key=value.
    dashes = "--" if module.startswith("axolotl.") else ""
    arguments = [train_file(spec), f"{dashes}output_dir={{output}}"]
    if spec.launcher == "deepspeed":
        return [
            "{bin}/deepspeed",
            # Without it --local_rank=N comes before the YAML, and LLaMA-Factory does not find its arguments.
            "--no_local_rank",
            "{accelerators_flag}",
            str(spec.gpus),
            "--master_addr",
            "127.0.0.1",
            "--master_port",
            "{port}",
            "--module",
            module,
            *arguments,
        ]
    return [
        "{bin}/torchrun",
        "--nproc_per_node",
        str(spec.gpus),
        "--master_addr",
        "127.0.0.1",
        "--master_port",
        "{port}",
        "--log-dir",
        "{run}/ranks",
        "--redirects",
        "3",
        "--tee",
        "3",
        "-m",
        module,
        *arguments,
    ]


def weights(spec: RunSpec, run: str, step: int | None) -> list[str]:
    """Return the overrides that name the weights of ``run``; None for ``step`` is its base."""
    checkpoint = f"{{runs}}/{run}/output/checkpoint-{step}"
    base = f"{{runs}}/{run}/prepared/model" if spec.tiny_model is not None else spec.model
    adapter = spec.method in ("lora", "qlora")
    overrides = [f"model_name_or_path={base if adapter or step is None else checkpoint}"]
    overrides.append(f"template={spec.template}")
    if adapter and step is not None:
        overrides += ["finetuning_type=lora", f"adapter_name_or_path={checkpoint}"]
    if spec.quantization_bit is not None:
        overrides.append(f"quantization_bit={spec.quantization_bit}")
    return overrides
