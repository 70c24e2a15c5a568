"""``finetui estimate PRESET``."""

from __future__ import annotations

import argparse

from tui.commands.output import print_json, size
from tui.operations.estimate import estimate_preset


def estimate(arguments: argparse.Namespace) -> int:
    """Print what a run needs on each GPU, part by part, and whether it fits the card."""
    fit = estimate_preset(arguments.preset, arguments.sets, arguments.gpu, arguments.gpus)
    need = fit.need
    if arguments.json:
        print_json(
            {
                "fits": fit.fits,
                "per_gpu_bytes": need.per_gpu_bytes,
                "parts": dict(need.parts),
                "host_bytes": need.host_bytes,
                "disk_bytes": need.disk_bytes,
                "gpus": fit.spec.gpus,
                "vram_bytes": fit.vram_bytes,
            }
        )
        return 0
    print(f"{'on each of ' + str(fit.spec.gpus) + ' GPUs':22}  about {size(need.per_gpu_bytes)}")
    for name, count in need.parts:
        print(f"  {name:20}  {size(count)}")
    print(f"{'host memory':22}  about {size(need.host_bytes)}")
    print(f"{'disk':22}  about {size(need.disk_bytes)}")
    if fit.vram_bytes is not None:
        verdict = "fits" if fit.fits else "does not fit"
        print(f"{verdict} on {arguments.gpu} ({size(fit.vram_bytes)})")
    return 0
