"""What the pinned trainer takes; the JSON beside is written by ``tests/tools/trainer_facts.py``."""

from __future__ import annotations

import functools
from importlib import resources

import msgspec


class TrainerFacts(msgspec.Struct, frozen=True):
    """Argument names with a type or choices, template names, and the template registered for a Hub model id.

    A model that is registered without a template (a base model) has None.
    """

    llamafactory: str
    transformers: str
    arguments: dict[str, str | list[str | int | bool]]
    templates: tuple[str, ...]
    model_templates: dict[str, str | None]


@functools.cache
def llamafactory_facts() -> TrainerFacts:
    """Return the facts of the version that ``trainers/llamafactory.txt`` pins."""
    data = (resources.files("presets") / "trainer_facts.json").read_bytes()
    return msgspec.json.decode(data, type=TrainerFacts)


@functools.cache
def pinned_packages(trainer: str) -> frozenset[str]:
    """Return the names of the packages in a trainer's environment, and of the extras that runs may add."""
    folder = resources.files("presets")
    files = [*(folder / "trainers").iterdir(), *(folder / "extras").iterdir()]
    lines = [
        line
        for file in files
        if file.name.startswith(trainer) or file.name in ("bitsandbytes.txt", "liger-kernel.txt")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return frozenset(line.partition("==")[0].strip().lower() for line in lines if "==" in line)
