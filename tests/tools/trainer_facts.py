"""What the pinned LLaMA-Factory takes: argument names, choices, templates. Prints presets/trainer_facts.json.

Run it in the trainer's environment after changing a pin:

    .../bin/python tests/tools/trainer_facts.py > presets/trainer_facts.json
"""

from __future__ import annotations

import dataclasses
import enum
import json
import os
import typing
from importlib.metadata import version
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")

from llamafactory.data.template import TEMPLATES
from llamafactory.extras.constants import DEFAULT_TEMPLATE, SUPPORTED_MODELS
from llamafactory.hparams.parser import _TRAIN_ARGS


def main() -> None:
    """Print the facts as JSON, sorted, so that a change is a small difference."""
    facts = {
        "llamafactory": version("llamafactory"),
        "transformers": version("transformers"),
        "arguments": {name: describe(hint) for group in _TRAIN_ARGS for name, hint in arguments(group)},
        "templates": sorted(TEMPLATES),
        "model_templates": {
            repository: DEFAULT_TEMPLATE.get(name)
            for name, sources in SUPPORTED_MODELS.items()
            for repository in sources.values()
        },
    }
    print(json.dumps(facts, indent=0, sort_keys=True))


def arguments(group: Any) -> list[tuple[str, Any]]:
    """Return the arguments of a dataclass that can be given in a YAML file, with their types."""
    hints = typing.get_type_hints(group)
    return [(field.name, hints[field.name]) for field in dataclasses.fields(group) if field.init]


def describe(hint: Any) -> Any:
    """Return a list of choices, or the name of a plain type; "any" for all others."""
    options = [option for option in typing.get_args(hint) or (hint,) if option is not type(None)]
    if typing.get_origin(hint) is typing.Literal:
        return list(typing.get_args(hint))
    if len(options) == 1 and typing.get_origin(options[0]) is typing.Literal:
        return list(typing.get_args(options[0]))
    if len(options) == 1 and isinstance(options[0], type) and issubclass(options[0], enum.Enum):
        return [option.value for option in options[0]]
    names = {bool: "bool", int: "int", float: "float", str: "str"}
    return names.get(options[0], "any") if len(options) == 1 else "any"


if __name__ == "__main__":
    main()
