"""Everything that can fail before a GPU is paid for: spec, dataset and machine looked at together."""

from __future__ import annotations

import math
from dataclasses import dataclass

from presets.check_trainer import check_trainer
from presets.dataset import DataReport
from presets.findings import Finding, in_order
from presets.gpus import find
from presets.mapping import Mapping
from presets.models import Architecture, architecture
from presets.sizing import (
    Estimate,
    estimate,
    trainable_parameters,
)
from presets.spec import RunSpec
from presets.stages import DATA_OF_STAGE, stage_of
from presets.storage import checkpoint_bytes, disk_parts, environment_bytes
from presets.verdict import judge, what_fits

__all__ = ["Finding", "Machine", "check", "total_steps"]


@dataclass(frozen=True)
class Machine:
    """What a machine has; ``gpus`` are (name, VRAM bytes), None where a figure is not known."""

    gpus: tuple[tuple[str, int], ...] = ()
    ram_bytes: int | None = None
    disk_free_bytes: int | None = None
    cores: int | None = None


def check(spec: RunSpec, report: DataReport, machine: Machine | None = None) -> tuple[Finding, ...]:
    """Return the findings, errors first; with a machine also whether the run fits it."""
    findings = [
        *check_trainer(spec),
        *_check_data(spec, report),
        *_check_steps(spec, report),
        *_check_precision(spec, machine),
    ]
    if machine is not None:
        findings += _check_machine(spec, report, machine)
    return in_order(findings)


def total_steps(spec: RunSpec, rows: int) -> int:
    """Return the optimizer steps of a run as transformers counts them; packing makes them fewer."""
    if spec.max_steps is not None:
        return spec.max_steps
    return math.ceil(spec.epochs * _steps_per_epoch(spec, rows))


def _steps_per_epoch(spec: RunSpec, rows: int) -> int:
    trained = rows - math.ceil(rows * spec.eval_share)
    batches = math.ceil(math.ceil(trained / spec.gpus) / spec.micro_batch)
    return max(1, math.ceil(batches / spec.gradient_accumulation)) if trained > 0 else 0


def _check_data(spec: RunSpec, report: DataReport) -> list[Finding]:
    findings = []
    wanted = stage_of(Mapping(report.roles))
    if wanted != spec.stage:
        reason = f"The data has {DATA_OF_STAGE[wanted]}; {spec.stage} trains on {DATA_OF_STAGE[spec.stage]}."
        fix = f"Use --set stage={wanted}, or map the columns with --map."
        findings.append(Finding("error", "data", reason, fix))
    if report.rows < spec.gpus:
        # transformers' sampler repeats rows until every rank has one.
        rows = "1 row is" if report.rows == 1 else f"{report.rows} rows are"
        reason = f"{rows} fewer than the {spec.gpus} ranks: rows are repeated until each rank has one."
        findings.append(Finding("warning", "data", reason, "Add rows, or use fewer GPUs (--set gpus=1)."))
    if report.empties:
        reason = f"{report.empties} of {report.rows} rows have an empty turn."
        findings.append(Finding("warning", "data", reason, "Fill them in or take them out."))
    if report.duplicates:
        about = "" if report.duplicates_exact else "About "
        reason = f"{about}{report.duplicates} of {report.rows} rows are duplicates."
        findings.append(Finding("note", "data", reason, "Take them out unless they weigh more on purpose."))
    if report.ignored:
        reason = f"Columns that are not used: {', '.join(report.ignored[:10])}."
        findings.append(Finding("note", "data", reason, "Give them a role with --map if they matter."))
    share = report.lengths.share_over(spec.cutoff_len)
    if share > 0:
        reason = (
            f"{share:.1%} of the rows are longer than cutoff_len ({spec.cutoff_len} tokens) and get cut; "
            f"the longest has about {report.lengths.max}. Lengths are reckoned from bytes, within a third."
        )
        findings.append(Finding("warning", "cutoff_len", reason, "Raise cutoff_len or shorten the rows."))
    return findings


def _check_steps(spec: RunSpec, report: DataReport) -> list[Finding]:
    steps = total_steps(spec, report.rows)
    if steps < 1:
        reason = f"{report.rows} rows with eval_share {spec.eval_share} leave nothing to train on."
        return [Finding("error", "eval_share", reason, "Lower eval_share or add rows.")]
    findings = []
    if isinstance(spec.warmup, int) and spec.warmup > steps:
        reason = f"{spec.warmup} steps of warm-up are more than the {steps} steps of the run."
        findings.append(Finding("warning", "warmup", reason, "Lower warmup, or write a share such as 0.1."))
    if spec.packing or spec.save_steps <= steps:
        return findings
    count = "1 step" if steps == 1 else f"{steps} steps"
    reason = f"The run has {count} and saves every {spec.save_steps}: only the end is saved."
    fix = f"Use --set save_steps={max(1, steps // 2)} to be able to resume from the middle."
    return [*findings, Finding("warning", "save_steps", reason, fix)]


def _check_precision(spec: RunSpec, machine: Machine | None) -> list[Finding]:
    cards = [(name, find(name)) for name, _ in (machine.gpus if machine else ())]
    # torch's own test passes: it accepts emulation, which is many times slower.
    old = [name for name, card in cards if card is not None and not card.has_bf16]
    if spec.precision == "bf16" and old:
        reason = f"{old[0]} has no bf16 arithmetic (compute capability below 8.0)."
        return [Finding("error", "precision", reason, "Use --set precision=fp16, or a newer card.")]
    if spec.flash_attn == "fa2" and old:
        reason = f"FlashAttention-2 needs compute capability 8.0 or more, and {old[0]} has less."
        return [Finding("error", "flash_attn", reason, "Use --set flash_attn=auto.")]
    if spec.precision == "fp16" and not old:
        reason = "fp16 overflows on models that were trained in bf16, which most are."
        return [Finding("warning", "precision", reason, "Use --set precision=bf16 on Ampere and newer.")]
    return []


def _check_machine(spec: RunSpec, report: DataReport, machine: Machine) -> list[Finding]:
    arch = architecture(spec)
    findings = []
    if machine.gpus and len(machine.gpus) < spec.gpus:
        reason = f"The preset wants {spec.gpus} GPUs and the machine has {len(machine.gpus)}."
        fix = f"Use --set gpus={len(machine.gpus)} (see `finetui estimate`), or a machine with {spec.gpus}."
        findings.append(Finding("error", "gpus", reason, fix))
    if arch is None:
        reason = f"The shape of {spec.model} is not known, so whether it fits can't be said."
        return [*findings, Finding("note", "model", reason, "Watch the VRAM of the first steps.")]
    need = estimate(spec, arch, spec.gpus)
    findings += _check_vram(spec, machine, need, arch)
    if machine.ram_bytes is not None and machine.gpus and need.host_bytes > machine.ram_bytes:
        reason = f"It needs about {_gb(need.host_bytes)} of host memory; there are {_gb(machine.ram_bytes)}."
        fix = "Turn offload off, use fewer ranks, or a machine with more memory."
        findings.append(Finding("error", "ram", reason, fix))
    return [*findings, *_check_disk(spec, report, machine, arch)]


def _check_disk(spec: RunSpec, report: DataReport, machine: Machine, arch: Architecture) -> list[Finding]:
    trained = trainable_parameters(spec, arch)
    need = sum(size for _, size in disk_parts(spec, arch, trained, total_steps(spec, report.rows)))
    checkpoint = checkpoint_bytes(spec, arch, trained)
    if machine.disk_free_bytes is None or need <= machine.disk_free_bytes:
        return []
    free = _gb(machine.disk_free_bytes)
    fix = "Use --set save_limit=1 or --set save_only_model=true, or make room."
    own = need - environment_bytes(spec)
    if own > machine.disk_free_bytes:
        reason = f"It needs about {_gb(own)} of disk (a checkpoint is {_gb(checkpoint)}); {free} are free."
        return [Finding("error", "disk", reason, fix)]
    reason = f"With the trainer's environment, if it is not there yet, it needs {_gb(need)}; {free} are free."
    return [Finding("warning", "disk", reason, fix)]


def _check_vram(spec: RunSpec, machine: Machine, need: Estimate, arch: Architecture) -> list[Finding]:
    if not machine.gpus:
        return _check_cpu(spec, machine, need, arch.parameters)
    name, vram = min(machine.gpus, key=lambda gpu: gpu[1])
    verdict = judge(need, vram)
    if verdict == "fits":
        return []
    reason = (
        f"It needs about {_gb(need.per_gpu_bytes)} on each GPU ({_gb(need.low_bytes)} to "
        f"{_gb(need.high_bytes)}); {name} has {_gb(vram)}."
    )
    ways = what_fits(spec, arch, spec.gpus, vram)
    fix = f"Use {' or '.join(ways[:3])}." if ways else "Use more or larger cards, or a smaller model."
    if verdict == "no":
        return [Finding("error", "vram", reason, fix)]
    return [Finding("warning", "vram", "Tight. " + reason, fix)]


#: Above this a CPU takes longer for one step than a person waits.
_MAX_CPU_PARAMETERS = 1_000_000_000


def _check_cpu(spec: RunSpec, machine: Machine, need: Estimate, parameters: int) -> list[Finding]:
    """Without a GPU the ranks share the host's memory, and everything is in 32 bits."""
    if spec.method == "qlora":
        reason = "QLoRA needs a GPU for its quantised weights, and the machine has none."
        return [Finding("error", "gpus", reason, "Launch on a machine with a GPU.")]
    total = 2 * need.per_gpu_bytes * spec.gpus + need.host_bytes
    if parameters > _MAX_CPU_PARAMETERS:
        reason = (
            f"{spec.model} has {parameters / 1e9:.1f} billion parameters; {spec.method} training needs about "
            f"{_gb(need.per_gpu_bytes)} on each of {spec.gpus} GPUs, and the machine has no GPU."
        )
        return [Finding("error", "gpus", reason, f"Launch on a machine with {spec.needs or 'a GPU'}")]
    if machine.ram_bytes is not None and spec.tiny_model is None and total > machine.ram_bytes:
        reason = f"It needs about {_gb(total)} of memory without a GPU; there are {_gb(machine.ram_bytes)}."
        return [Finding("error", "ram", reason, "Launch on a machine with a GPU, or use fewer ranks.")]
    return []


def _gb(size: int) -> str:
    """Bytes as people read them, in units of 10^9."""
    return f"{size / 1e9:.3g} GB"
