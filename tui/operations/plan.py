"""A run before it exists: its settings, its data as the model will see it, its problems, its command."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from presets import catalog, jobs, render
from presets.check import Finding, Machine, check
from presets.dataset import DataReport, Mapping, inspect, parse_mapping
from presets.errors import InvalidInput
from presets.spec import RunSpec, resolve
from presets.trainer import train_settings
from tui.errors import FinetuiError
from tui.paths import config_dir


@dataclass(frozen=True)
class Plan:
    """What would be launched; nothing is written yet.

    ``command`` and ``yaml`` are exactly what the trainer gets, ``job`` what the agent gets.
    """

    spec: RunSpec
    data: Path
    mapping: Mapping | None
    report: DataReport
    findings: tuple[Finding, ...]
    command: str
    yaml: str
    job: dict[str, Any]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that keep the run from being launched."""
        return tuple(finding for finding in self.findings if finding.level == "error")


def user_preset_dirs() -> tuple[Path, ...]:
    """Return where the user's own presets are looked for."""
    return (config_dir() / "presets",)


def preset_names() -> list[str]:
    """Return the names of all presets, the user's own among them."""
    return catalog.names(user_preset_dirs())


def resolve_spec(preset: str, sets: Sequence[str] = ()) -> RunSpec:
    """Return a preset with its overrides; raises InvalidInput."""
    return resolve(preset, sets, extra_dirs=user_preset_dirs())


def make_plan(
    preset: str,
    data: Path | None,
    sets: Sequence[str] = (),
    mapping: str = "",
    machine: Machine | None = None,
) -> Plan:
    """Work out a run without writing anything; ``mapping`` as of ``--map``.

    Without ``data`` it is the dataset that a LLaMA-Factory file of the user's own names.
    ``machine`` describes the target where it is known. Raises InvalidInput for a preset, a setting or
    a dataset that can't be used; what else may go wrong is in the plan's findings.
    """
    spec = resolve_spec(preset, sets)
    roles = parse_mapping(mapping)
    if data is None:
        data, own_roles = catalog.dataset(preset)
        roles = roles or own_roles
    report = inspect(data, roles)
    job = jobs.train_job(spec)
    return Plan(
        spec=spec,
        data=data,
        mapping=roles,
        report=report,
        findings=tuple(check(spec, report, machine)),
        command=jobs.command_of(job),
        yaml=yaml.safe_dump(train_settings(spec), sort_keys=False, allow_unicode=True),
        job=job,
    )


def with_machine(plan: Plan, machine: Machine) -> Plan:
    """Return the plan judged against the machine that it is for."""
    return replace(plan, findings=tuple(check(plan.spec, plan.report, machine)))


def refuse_errors(plan: Plan) -> None:
    """Raise InvalidInput when the plan can't work, with every reason."""
    if not plan.errors:
        return
    first, *others = plan.errors
    raise InvalidInput(
        first.reason,
        cause="; ".join(finding.reason for finding in others),
        remedy="; ".join(dict.fromkeys(finding.fix for finding in plan.errors if finding.fix)),
    )


def write_plan(plan: Plan, folder: Path) -> render.Prepared:
    """Write the prepared folder, all of it or nothing; raises InvalidInput, FinetuiError."""
    refuse_errors(plan)
    return render.render(plan.spec, plan.data, plan.mapping, folder)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder to prepare a run in, gone at the end; raises FinetuiError when there is no room."""
    try:
        scratch = Path(tempfile.mkdtemp(prefix="finetui-"))
    except OSError as error:
        raise FinetuiError(
            f"can't write to {tempfile.gettempdir()}",
            cause=error.strerror or str(error),
            remedy="free some space there, or set TMPDIR to another folder",
        ) from error
    try:
        yield scratch / "prepared"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
