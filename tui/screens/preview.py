"""What a run would be, before it is launched: settings checked one by one, data, command, YAML."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from presets.errors import FinetuiError, InvalidInput

if TYPE_CHECKING:
    from presets.check import Finding, Machine
    from presets.dataset import DataReport
    from presets.sizing import Estimate
    from presets.spec import RunSpec


@dataclass(frozen=True)
class Draft:
    """What the form says; ``sets`` holds only what differs from the preset."""

    preset: str
    data: str
    target: str
    mapping: str = ""
    sets: tuple[tuple[str, str], ...] = ()

    def overrides(self) -> list[str]:
        """Return the settings as ``--set`` takes them."""
        return [f"{key}={value}" for key, value in self.sets]


@dataclass(frozen=True)
class Preview:
    """A draft looked at; ``problems`` maps a field of the form to what is wrong with it."""

    draft: Draft
    problems: MappingABC[str, FinetuiError] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    spec: RunSpec | None = None
    data: DataReport | None = None
    command: str = ""
    yaml: str = ""
    estimate: Estimate | None = None
    #: Name and VRAM bytes of the smallest card of the machine, where one is known.
    card: tuple[str, int] | None = None

    @property
    def ready(self) -> bool:
        """True when nothing is known that would keep the run from being launched."""
        return not self.problems and not any(finding.level == "error" for finding in self.findings)


def look_at(draft: Draft, machine: Machine | None = None) -> Preview:
    """Check a draft, also against its machine; reads the whole dataset, so call it in a thread."""
    from presets.check import check
    from presets.dataset import inspect, parse_mapping
    from tui.operations.plan import resolve_spec

    problems: dict[str, FinetuiError] = {}
    for key, value in draft.sets:
        try:
            resolve_spec(draft.preset, [f"{key}={value}"])
        except FinetuiError as error:
            # The field stands beside the message: it needs no "--set KEY=VALUE:".
            message = error.message.removeprefix(f"--set {key}={value}: ")
            problems[key] = InvalidInput(message, cause=error.cause, remedy=error.remedy)
    spec = report = None
    findings: tuple[Finding, ...] = ()
    try:
        spec = resolve_spec(draft.preset, draft.overrides())
    except FinetuiError as error:
        problems = problems or {"settings": error}
    try:
        roles = parse_mapping(draft.mapping)
        with draft_data(draft) as path:
            report = inspect(path, roles)
        findings = tuple(check(spec, report, machine)) if spec else ()
    except FinetuiError as error:
        problems["mapping" if draft.mapping and "--map" in error.message else "data"] = error
    if spec is None:
        return Preview(draft, problems, findings, data=report)
    return Preview(
        draft, problems, findings, spec, report, *_texts(spec), _estimate(spec), _smallest(machine)
    )


@contextlib.contextmanager
def draft_data(draft: Draft) -> Iterator[Path]:
    """Give the draft's dataset; the demo brings its own rows when none is named."""
    if draft.data:
        yield Path(draft.data).expanduser()
        return
    if draft.preset != "demo":
        raise InvalidInput("Name your dataset.", remedy="A .jsonl, .json or .csv file.")
    from presets import demo

    with tempfile.TemporaryDirectory(prefix="finetui-") as folder:
        path = Path(folder) / "demo.jsonl"
        demo.write_dataset(path)
        yield path


def _texts(spec: RunSpec) -> tuple[str, str]:
    import yaml

    from presets.jobs import command_of, train_job
    from presets.trainer import train_settings

    return command_of(train_job(spec)), yaml.safe_dump(train_settings(spec), sort_keys=False)


def _smallest(machine: Machine | None) -> tuple[str, int] | None:
    return min(machine.gpus, key=lambda gpu: gpu[1]) if machine and machine.gpus else None


def _estimate(spec: RunSpec) -> Estimate | None:
    """Return the run's need for memory; None for a model whose shape isn't known."""
    from presets.models import architecture
    from presets.sizing import estimate

    shape = architecture(spec)
    return estimate(spec, shape, spec.gpus) if shape is not None else None
