"""``finetui estimate PRESET``."""

from __future__ import annotations

import argparse
from pathlib import Path

from tui.commands.output import duration, note, print_json, size
from tui.operations.estimate import Fit, estimate_preset

_VERDICTS = {"fits": "fits", "tight": "is too tight to be sure", "no": "does not fit"}


def estimate(arguments: argparse.Namespace) -> int:
    """Print what a run needs on each GPU, part by part, whether it fits the card, and how long it takes."""
    data = Path(arguments.data) if arguments.data else None
    fit = estimate_preset(
        arguments.preset, arguments.sets, arguments.gpu, arguments.gpus, data=data, mapping=arguments.map
    )
    if arguments.json:
        print_json(_document(fit))
    else:
        print("\n".join([*_memory(fit), *_verdict(fit), *_time(fit)]))
        note("reckoned, not measured: docs/SIZING.md says how, and how far off it was on published runs")
    return 0


def _document(fit: Fit) -> dict[str, object]:
    need, speed = fit.need, fit.speed
    return {
        "fits": fit.fits,
        "verdict": fit.verdict,
        "per_gpu_bytes": need.per_gpu_bytes,
        "parts": dict(need.parts),
        "uncertainty": {
            "low_bytes": need.low_bytes,
            "high_bytes": need.high_bytes,
            "parts": {part.name: part.uncertainty for part in need.detailed},
        },
        "host_bytes": need.host_bytes,
        "disk_bytes": need.disk_bytes,
        "disk_parts": dict(need.disk_parts),
        "gpu": fit.card.name if fit.card else None,
        "gpus": fit.spec.gpus,
        "vram_bytes": fit.card.vram_bytes if fit.card else None,
        "parameters": fit.shape.parameters,
        "fits_with": list(fit.ways),
        "time": None
        if speed is None
        else {
            "tokens_per_s": speed.tokens_per_s,
            "tokens": fit.tokens,
            "seconds": fit.seconds,
            "mfu": speed.mfu,
            "uncertainty": speed.uncertainty,
            "source": speed.source,
        },
    }


def _memory(fit: Fit) -> list[str]:
    need = fit.need
    gpus = "the GPU" if fit.spec.gpus == 1 else f"each of {fit.spec.gpus} GPUs"
    lines = [
        f"{'on ' + gpus:22}  about {size(need.per_gpu_bytes)} "
        f"({size(need.low_bytes)} to {size(need.high_bytes)})"
    ]
    lines += [
        f"  {part.name:20}  {size(part.bytes):>10}  within {part.uncertainty:.0%}" for part in need.detailed
    ]
    lines += [
        f"{'host memory':22}  about {size(need.host_bytes)}",
        f"{'disk':22}  about {size(need.disk_bytes)}",
    ]
    return lines + [f"  {name:20}  {size(count):>10}" for name, count in need.disk_parts]


def _verdict(fit: Fit) -> list[str]:
    if fit.card is None or fit.verdict is None:
        return []
    lines = [f"{_VERDICTS[fit.verdict]} on {fit.card.name} ({size(fit.card.vram_bytes)})"]
    return lines + [f"  fits with {way}" for way in fit.ways[:3]]


def _time(fit: Fit) -> list[str]:
    if fit.speed is None:
        return []
    rate = (
        f"about {fit.speed.tokens_per_s:.2g} tokens/s within {fit.speed.uncertainty:.0%} ({fit.speed.source})"
    )
    if fit.seconds is None or fit.tokens is None:
        return [f"{'speed':22}  {rate}", "  with --data FILE also how long the whole run takes"]
    return [
        f"{'speed':22}  {rate}",
        f"{'time':22}  about {duration(fit.seconds)} for {_rounded(fit.tokens)} tokens",
    ]


def _rounded(value: float) -> str:
    """Return two significant digits: more would claim what an estimate can't know."""
    return f"{float(f'{value:.2g}'):,.0f}"
