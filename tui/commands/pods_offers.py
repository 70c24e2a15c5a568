"""``finetui pods offers``: what can be rented, what fits, and what the run would cost."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from presets.throughput import SOURCE, UNCERTAINTY
from tui.clouds.runpod import open_account
from tui.commands.output import note, print_json, printable, size, table
from tui.operations.rent_offers import Load, SizedOffer, list_offers, make_load


def offers(arguments: argparse.Namespace) -> int:
    """Print the offers, those on which the preset fits unless all are asked for."""
    load = load_of(arguments)
    count = load.count if load else arguments.gpus or 1
    found = list_offers(open_account(), load, count, arguments.sort)
    shown = [item for item in found if arguments.all_cards or item.fits is not False]
    if arguments.json:
        print_json([_offer_json(item) for item in shown])
        return 0
    headings = ["CARD", "GPUS", "VRAM EACH", "CLOUD", "STOCK", "$/H", "SPOT $/H"]
    headings += ["FITS", "TOKENS/S", "HOURS", "$ RUN"] if load else []
    print(table([*headings, "DATA CENTERS"], [_offer_row(item, load is not None) for item in shown]))
    if len(found) > len(shown):
        left_out = len(found) - len(shown)
        note(f"{left_out} offers on which {arguments.preset} may not fit are left out (--all-cards)")
    if load and load.need is None:
        note(f"the shape of {load.spec.model} is not known: whether it fits can't be said")
    if load and load.need:
        note(f"speeds are reckoned, within {UNCERTAINTY:.0%}: {SOURCE}")
    if load and load.tokens is None:
        note("hours and dollars need --data FILE")
    return 0


def load_of(arguments: argparse.Namespace) -> Load | None:
    """Return what the pod is for, None without --preset; raises InvalidInput."""
    if not arguments.preset:
        return None
    data = Path(arguments.data) if arguments.data else None
    return make_load(arguments.preset, arguments.sets, arguments.gpus, data, arguments.map)


def _offer_json(item: SizedOffer) -> dict[str, Any]:
    offer = item.offer
    return {
        "gpu": offer.gpu,
        "name": offer.name,
        "count": offer.count,
        "vram_bytes": offer.vram_bytes,
        "cloud": offer.cloud,
        "stock": offer.stock or None,
        "price_per_h": offer.price_per_h,
        "spot_price_per_h": offer.spot_price_per_h,
        "data_centers": list(offer.data_centers),
        "fits": item.fits,
        "verdict": item.verdict,
        "need_bytes": item.need_bytes,
        "tokens_per_s": item.tokens_per_s,
        "hours": item.hours,
        "dollars": item.dollars,
    }


def _offer_row(item: SizedOffer, judged: bool) -> list[str]:
    offer = item.offer
    row = [
        printable(offer.name),
        str(offer.count),
        size(offer.vram_bytes),
        offer.cloud,
        offer.stock or "-",
        f"{offer.price_per_h:.2f}",
        _amount(offer.spot_price_per_h),
    ]
    if judged:
        speed = "-" if item.tokens_per_s is None else f"{item.tokens_per_s:.0f}"
        row += [item.verdict or "-", speed, _amount(item.hours), _amount(item.dollars)]
    return [*row, printable(", ".join(offer.data_centers)) or "-"]


def _amount(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
