"""The presets that there are: one YAML file each, ours and the user's."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from presets.errors import InvalidInput
from presets.yaml_file import Document, parse_document


def names(extra_dirs: Sequence[Path] = ()) -> list[str]:
    """Return the names of all presets, sorted; a user's file takes the place of ours with the same name."""
    return sorted(_files(extra_dirs))


def load(name: str, extra_dirs: Sequence[Path] = ()) -> Document:
    """Read one preset's keys and their lines; raises InvalidInput with the nearest names."""
    files = _files(extra_dirs)
    if name not in files:
        near = difflib.get_close_matches(name, files, n=3, cutoff=0.4)
        raise InvalidInput(
            f"There is no preset {name!r}.",
            cause=f"Nearest: {', '.join(near)}." if near else f"There are: {', '.join(sorted(files))}.",
            remedy="List them with `finetui presets`.",
        )
    source = f"{name}.yaml" if not isinstance(files[name], Path) else str(files[name])
    try:
        text = files[name].read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{source} is not UTF-8 (byte {error.start}).", remedy="Save the file as UTF-8."
        ) from error
    except OSError as error:
        raise InvalidInput(f"{source} can't be read.", cause=str(error.strerror)) from error
    return parse_document(text, source)


def _files(extra_dirs: Sequence[Path]) -> dict[str, Traversable]:
    found: dict[str, Traversable] = {}
    for folder in (resources.files("presets") / "catalog", *extra_dirs):
        if folder.is_dir():
            found |= {
                item.name.removesuffix(".yaml"): item
                for item in folder.iterdir()
                if item.name.endswith(".yaml") and not item.name.startswith(".")
            }
    return found
