"""``finetui presets`` and ``finetui presets show NAME``."""

from __future__ import annotations

import argparse

from presets.spec import RunSpec
from tui.commands.output import print_json, table
from tui.errors import InvalidInput
from tui.operations.plan import preset_names, resolve_spec


def presets(arguments: argparse.Namespace) -> int:
    """List the presets, or show all settings of one."""
    if arguments.action == "show":
        return _show(arguments)
    specs = [resolve_spec(name) for name in preset_names()]
    if arguments.json:
        print_json([{"name": spec.preset, **spec.to_dict()} for spec in specs])
        return 0
    rows = [(spec.preset, spec.method, _deepspeed(spec), str(spec.gpus), spec.needs) for spec in specs]
    print(table(("PRESET", "METHOD", "DEEPSPEED", "RANKS", "NEEDS"), rows))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        raise InvalidInput("presets show needs a name", remedy=f"one of: {', '.join(preset_names())}")
    spec = resolve_spec(arguments.name)
    settings = spec.to_dict()
    if arguments.json:
        print_json({"name": spec.preset, **settings})
        return 0
    width = max(map(len, settings))
    for key, value in settings.items():
        print(f"{key:{width}}  {value}")
    return 0


def _deepspeed(spec: RunSpec) -> str:
    if spec.zero_stage is None:
        return "-"
    return f"ZeRO-{spec.zero_stage}" + (" offload" if spec.offload_optimizer or spec.offload_param else "")
