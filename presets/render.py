"""Writes the prepared folder of a run: all of it or nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from presets import jobs
from presets.dataset import Mapping, write_rows
from presets.deepspeed_config import deepspeed_config
from presets.errors import FinetuiError, InvalidInput
from presets.layouts import recognise
from presets.llamafactory import DEEPSPEED_FILE, MODEL_FOLDER, dataset_info, finetuning_type
from presets.rows import read_rows
from presets.spec import RunSpec, from_dict
from presets.stages import DATA_OF_STAGE, stage_of
from presets.trainer import train_file, train_settings

__all__ = ["Prepared", "render", "render_serve", "serve_job"]

serve_job = jobs.serve_job

#: Raw trainer keys that change the text which the model sees.
_PROMPT_KEYS = frozenset({"enable_thinking", "default_system", "tool_format"})


@dataclass(frozen=True)
class Prepared:
    """A folder that is ready to be launched; ``files`` are relative to it, ``command`` is for people."""

    folder: Path
    job: dict[str, Any]
    files: tuple[str, ...]
    command: str
    rows: int = 0


def render(spec: RunSpec, data_path: Path, mapping: Mapping | None, folder: Path) -> Prepared:
    """Write the prepared folder of a training run.

    Raises InvalidInput for a dataset that can't be used or a folder that is not empty, FinetuiError when the
    disk is full; nothing is left behind then.
    """
    job = jobs.train_job(spec)
    _check_stage(spec, data_path, mapping)

    def write(place: Path) -> int:
        _write_yaml(place / train_file(spec), train_settings(spec))
        config = deepspeed_config(spec)
        if config is not None:
            _write_json(place / DEEPSPEED_FILE, config)
        if spec.tiny_model is not None:
            _write_yaml(place / jobs.MODEL_FILE, _tiny_model(spec))
        _write_script(place / "command.sh", spec)
        (place / "data").mkdir()
        _write_json(place / "data" / "dataset_info.json", dataset_info(spec.stage))
        return write_rows(data_path, mapping, place / "data" / "train.jsonl")

    rows = _all_or_nothing(folder, write)
    # For people and for the model card of an export: the file as the user has it, not as it was rewritten.
    job["data"] = {"name": data_path.name, "rows": rows, "sha256": _sha256(data_path)}
    return Prepared(folder, job, _files(folder), jobs.command_of(job), rows)


def render_serve(config: dict[str, Any], run: str, step: int | None, idle_s: float, folder: Path) -> Prepared:
    """Write the prepared folder of a model server; arguments as of ``serve_job``, errors as of ``render``."""
    job = serve_job(config, run, step, idle_s)
    spec = from_dict(config)
    keys = {
        "template": spec.template,
        "finetuning_type": finetuning_type(spec.method),
        "infer_backend": "huggingface",
        "trust_remote_code": False,
        # What shapes the prompt in training shapes it in chat.
        **{key: value for key, value in spec.trainer_args.items() if key in _PROMPT_KEYS},
    }

    return prepare_folder(job, {jobs.SERVE_FILE: keys}, folder)


def prepare_folder(job: dict[str, Any], files: dict[str, dict[str, Any] | str], folder: Path) -> Prepared:
    """Write files of settings (YAML) or of text into a new folder; errors as of ``render``."""

    def write(place: Path) -> int:
        for name, content in files.items():
            if isinstance(content, str):
                (place / name).write_text(content, encoding="utf-8")
            else:
                _write_yaml(place / name, content)
        return 0

    _all_or_nothing(folder, write)
    return Prepared(folder, job, _files(folder), jobs.command_of(job))


def _check_stage(spec: RunSpec, data_path: Path, mapping: Mapping | None) -> None:
    layout = recognise(data_path, next(read_rows(data_path)).values, mapping)
    wanted = stage_of(layout.mapping)
    if wanted != spec.stage:
        raise InvalidInput(
            f"{data_path} has {DATA_OF_STAGE[wanted]}, and the stage is {spec.stage}.",
            cause=f"The stage {spec.stage} trains on {DATA_OF_STAGE[spec.stage]}.",
            remedy=f"Use --set stage={wanted}, or say which columns are what with --map.",
        )


def _all_or_nothing(folder: Path, write: Callable[[Path], int]) -> int:
    """Run ``write`` on a temporary sibling of ``folder`` and rename it into place."""
    temporary: Path | None = None
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidInput(
                f"{folder} is there already and is not an empty folder.", remedy="Name a new folder."
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        temporary.chmod(0o755)
        rows = write(temporary)
        # Renaming over an empty folder is atomic; over one that was filled meanwhile it fails.
        temporary.rename(folder)
    except OSError as error:
        raise _disk_error(folder, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return rows


def _disk_error(folder: Path, error: OSError) -> FinetuiError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FinetuiError(
            f"No space is left on the disk for {folder}.",
            cause=str(error.strerror),
            remedy="Make room or name a folder on another disk; nothing was left behind.",
        )
    return InvalidInput(
        f"{folder} can't be written.", cause=str(error.strerror or error), remedy="Name another folder."
    )


def _tiny_model(spec: RunSpec) -> dict[str, Any]:
    sizes: dict[str, Any] = spec.to_dict()["tiny_model"]
    return {**sizes, "seed": spec.seed, "data": "data/train.jsonl", "output": MODEL_FOLDER}


def _write_yaml(path: Path, keys: dict[str, Any]) -> None:
    # The dumper quotes "no" and other text that YAML would read as something else.
    path.write_text(yaml.safe_dump(keys, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _write_script(path: Path, spec: RunSpec) -> None:
    lines = [
        "#!/bin/sh",
        "# The same training by hand, in an environment with llamafactory and deepspeed; finetui itself uses",
        "# its own entry module, which adds the metrics. Without a GPU: export DS_ACCELERATOR=cpu, write",
        "# --num_accelerators in place of --num_gpus, and add use_cpu=true bf16=false at the end.",
        "set -eu",
        'cd "$(dirname "$0")"',
    ]
    if spec.tiny_model is not None:
        lines.append(f"python -m remote_agent.trainers.tiny_model {jobs.MODEL_FILE}  # finetui on PYTHONPATH")
    lines.append(f"exec {jobs.command_by_hand(spec)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o755)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> tuple[str, ...]:
    found = (item for item in folder.rglob("*") if item.is_file())
    return tuple(sorted(item.relative_to(folder).as_posix() for item in found))
