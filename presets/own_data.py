"""The dataset that a user's own LLaMA-Factory YAML names, by its dataset_info.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from presets.errors import InvalidInput
from presets.mapping import Mapping
from presets.yaml_file import Document

#: dataset_info.json's name of a column, and its role here.
_ROLES = {
    "prompt": "prompt",
    "query": "input",
    "response": "response",
    "system": "system",
    "messages": "messages",
}
_PAIR_ROLES = {"prompt": "prompt", "query": "input", "chosen": "response", "rejected": "rejected"}
_REMEDY = "Name the file with --data, and what is not recognised with --map."


def own_dataset(document: Document, folder: Path) -> tuple[Path, Mapping | None]:
    """Return the file and the columns of the dataset; None for columns that are to be recognised.

    ``folder`` is that of the YAML; dataset_dir is looked for there. Raises InvalidInput when the dataset is
    not one local file.
    """
    name = document.values.get("dataset")
    where = document.where("dataset")
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput(f"{document.source} names no dataset.", remedy=_REMEDY)
    if "," in name:
        raise InvalidInput(f"{where}: {name} are several datasets.", remedy="Join them, and use --data.")
    place = folder / str(document.values.get("dataset_dir", "data"))
    entry = _entry(place / "dataset_info.json", name.strip(), where)
    file_name = entry.get("file_name")
    if not isinstance(file_name, str):
        raise InvalidInput(
            f"{where}: {name} is not a local file in {place / 'dataset_info.json'}.",
            remedy="Download it, and name the file with --data.",
        )
    file = place / file_name
    if not file.is_file():
        raise InvalidInput(f"{where}: there is no file {file}.", remedy=_REMEDY)
    return file, _mapping(entry)


def _entry(path: Path, name: str, where: str) -> dict[str, Any]:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInput(
            f"{where}: there is no {path} that says what {name} is.", remedy=_REMEDY
        ) from error
    except (ValueError, OSError) as error:
        raise InvalidInput(
            f"{path} can't be read as JSON.", cause=str(error), remedy="Mend the file."
        ) from error
    entry = info.get(name) if isinstance(info, dict) else None
    if not isinstance(entry, dict):
        known = ", ".join(info) if isinstance(info, dict) else "none"
        raise InvalidInput(
            f"{where}: {path} has no dataset {name!r}.", cause=f"It has: {known}.", remedy=_REMEDY
        )
    return entry


def _mapping(entry: dict[str, Any]) -> Mapping | None:
    columns = entry.get("columns")
    if not isinstance(columns, dict):
        return None
    roles = _PAIR_ROLES if entry.get("ranking") is True else _ROLES
    pairs = [
        (column, roles[key]) for key, column in columns.items() if key in roles and isinstance(column, str)
    ]
    return Mapping(tuple(pairs)) if pairs else None
