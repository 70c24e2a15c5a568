"""The presets that there are: files of our own and the user's, and models x methods x cards of ``recipes/``.

A preset is layers of settings, later ones winning: cards, method, model, its own keys. A file may build on
any preset with ``base: NAME``, and take ``base: [NAME, hardware/4x80gb]`` for other cards.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from presets.errors import InvalidInput
from presets.mapping import Mapping
from presets.own_axolotl import axolotl_dataset, read_own_axolotl
from presets.own_data import own_dataset
from presets.own_yaml import kind_of, read_own
from presets.settings import Setting
from presets.yaml_file import Document, parse_document

_SUFFIXES = (".yaml", ".yml")
#: A chain of bases longer than this is a mistake.
_MAX_DEPTH = 8


@dataclass(frozen=True)
class Recipe:
    """The settings of a preset by key, each with the place where it was written."""

    source: str
    settings: dict[str, Setting]


def names(extra_dirs: Sequence[Path] = ()) -> list[str]:
    """Return the names of all presets, sorted; a user's file takes the place of ours with the same name."""
    return sorted({*_files(extra_dirs), *_built()})


def load(name: str, extra_dirs: Sequence[Path] = ()) -> Recipe:
    """Read one preset with everything that it builds on; raises InvalidInput with the nearest names."""
    return _load(name, _files(extra_dirs), ())


def dataset(name: str) -> tuple[Path, Mapping | None]:
    """Return the dataset that a user's own trainer file names, and its columns.

    Raises InvalidInput for a preset, which names none, and for a dataset that is not one local file.
    """
    path = Path(name).expanduser()
    if name.endswith(_SUFFIXES) and path.is_file():
        document = _read(path, path.name)
        kind = kind_of(document.values)
        if kind == "llamafactory":
            return own_dataset(document, path.parent)
        if kind == "axolotl":
            return axolotl_dataset(document, path.parent), None
    raise InvalidInput(f"{name} names no dataset.", remedy="Add --data FILE (JSONL, JSON or CSV).")


def _load(name: str, files: dict[str, Traversable], chain: tuple[str, ...]) -> Recipe:
    if name.endswith(_SUFFIXES):
        return _from_path(Path(name).expanduser(), files, chain)
    if name in files:
        return _from_file(name, files, chain)
    folder, slash, part = name.partition("/")
    if slash and folder in ("hardware", "methods") and part in _parts(folder):
        return Recipe(name, _part(folder, part))
    if name in _built():
        return _build(*_built()[name])
    known = sorted({*files, *_built()})
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    raise InvalidInput(
        f"There is no preset {name!r}.",
        cause=f"Nearest: {', '.join(near)}." if near else f"There are: {', '.join(known)}.",
        remedy="List them with `finetui presets`.",
    )


def _from_file(name: str, files: dict[str, Traversable], chain: tuple[str, ...]) -> Recipe:
    file = str(files[name])
    if file in chain or len(chain) > _MAX_DEPTH:
        names = [Path(item).stem for item in (*chain, file)]
        raise InvalidInput(
            f"The preset {name!r} builds on itself: {' -> '.join(names)}.",
            remedy="Give the last of them another base, or none.",
        )
    document = _read(files[name], f"{name}.yaml")
    settings = _settings(document)
    bases = _bases(settings.pop("base", None), document)
    # A user's demo.yaml may build on our demo: then it is ours that is meant.
    ours = {**{key: item for key, item in files.items() if key != name}, **_only(_files(()), name)}
    layers = [_load(base, ours if base == name else files, (*chain, file)).settings for base in bases]
    return Recipe(document.source, _merged(*layers, settings))


def _from_path(path: Path, files: dict[str, Traversable], chain: tuple[str, ...]) -> Recipe:
    """Read a file that is named by its path: a preset, or a trainer's own YAML as it is."""
    if not path.is_file():
        raise InvalidInput(f"There is no file {path}.", remedy="Name a YAML file, or a preset.")
    document = _read(path, path.name)
    kind = kind_of(document.values)
    if kind == "axolotl":
        return Recipe(document.source, read_own_axolotl(document, path.parent))
    if kind == "llamafactory":
        return Recipe(document.source, read_own(document, path.parent))
    return _from_file(str(path), {**files, str(path): path}, chain)


def _only(files: dict[str, Traversable], name: str) -> dict[str, Traversable]:
    return {name: files[name]} if name in files else {}


def _bases(base: Setting | None, document: Document) -> list[str]:
    if base is None:
        return []
    items = base.value if isinstance(base.value, list) else [base.value]
    if not items or not all(isinstance(item, str) for item in items):
        raise InvalidInput(
            f"{document.where('base')}: base must be a preset's name or a list of names, not {base.value!r}.",
            remedy="Write for example base: qwen3-8b-lora, or base: [qwen3-8b-lora, hardware/4x80gb]",
        )
    return items


def _build(model: str, method: str) -> Recipe:
    """Lay the cards, the method, the model and the entry's own keys over each other."""
    document = _parts_document("models")
    own = _part("models", model)
    entry = own.pop("presets").value[method]
    keys = {"on": entry} if isinstance(entry, str) else dict(entry)
    hardware = _part("hardware", keys.pop("on"))
    where = document.where(f"{model}.presets.{method}")
    overrides = {key: Setting(key, value, where) for key, value in keys.items()}
    recipe = _part("methods", method)
    why = Setting("why", f"{own['why'].value} {recipe['why'].value}", own["why"].where)
    return Recipe(where, _merged(hardware, recipe, own, overrides) | {"why": why})


def _merged(*layers: dict[str, Setting]) -> dict[str, Setting]:
    """Later layers win; raw trainer keys are kept beside each other."""
    merged: dict[str, Setting] = {}
    for layer in layers:
        for key, setting in layer.items():
            before = merged.get(key)
            both = before is not None and isinstance(before.value, dict) and isinstance(setting.value, dict)
            if key == "trainer_args" and before is not None and both:
                merged[key] = replace(setting, value={**before.value, **setting.value})
            else:
                merged[key] = setting
    return merged


def _settings(document: Document) -> dict[str, Setting]:
    return {key: Setting(key, value, document.where(key)) for key, value in document.values.items()}


def _part(kind: str, name: str) -> dict[str, Setting]:
    document = _parts_document(kind)
    return {
        key: Setting(key, value, document.where(f"{name}.{key}"))
        for key, value in document.values[name].items()
    }


def _parts(kind: str) -> dict[str, Any]:
    return _parts_document(kind).values


@functools.cache
def _parts_document(kind: str) -> Document:
    return _read(resources.files("presets") / "recipes" / f"{kind}.yaml", f"{kind}.yaml")


@functools.cache
def _built() -> dict[str, tuple[str, str]]:
    return {
        f"{model}-{method}": (model, method)
        for model, keys in _parts("models").items()
        for method in keys["presets"]
    }


def _read(file: Traversable, shipped_as: str) -> Document:
    source = str(file) if isinstance(file, Path) and not _is_ours(file) else shipped_as
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{source} is not UTF-8 (byte {error.start}).", remedy="Save the file as UTF-8."
        ) from error
    except OSError as error:
        raise InvalidInput(f"{source} can't be read.", cause=str(error.strerror)) from error
    return parse_document(text, source)


def _is_ours(file: Path) -> bool:
    return Path(__file__).parent in file.parents


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
