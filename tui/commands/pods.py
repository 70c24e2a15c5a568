"""``finetui pods offers|create|list|stop|resume|terminate``."""

from __future__ import annotations

import argparse
import time
from typing import Any

from tui.clouds.base import Pod
from tui.clouds.runpod import open_account
from tui.commands.output import duration, iso, note, print_json, printable, size, table
from tui.errors import InvalidInput
from tui.operations import pods as operation
from tui.operations.pods import PodUse
from tui.operations.rent_offers import SizedOffer, list_offers
from tui.state.history import History


def pods(arguments: argparse.Namespace) -> int:
    """Do what the action says; raises InvalidInput when a pod is named where none is needed, or not named."""
    needs_pod = arguments.action in ("stop", "resume", "terminate")
    if needs_pod != bool(arguments.pod):
        wrong = "needs a pod" if needs_pod else f"takes no pod ({arguments.pod!r})"
        raise InvalidInput(
            f"pods {arguments.action} {wrong}",
            remedy=f"finetui pods {arguments.action}" + (" POD, as finetui pods list shows it" * needs_pod),
        )
    if arguments.action == "create":
        from tui.commands.pods_create import create

        return create(arguments)
    actions = {
        "offers": _offers,
        "list": _list,
        "stop": _stop,
        "resume": _resume,
        "terminate": _terminate,
    }
    return actions[arguments.action](arguments)


def pod_json(pod: Pod) -> dict[str, Any]:
    """Return a pod as a JSON document."""
    return {
        "pod": pod.id,
        "target": f"runpod:{pod.id}",
        "name": pod.name,
        "state": pod.state,
        "gpu": pod.gpu,
        "count": pod.count,
        "price_per_h": pod.price_per_h,
        "data_center": pod.data_center,
        "created": iso(pod.created),
        "ours": bool(pod.marker),
    }


def _offers(arguments: argparse.Namespace) -> int:
    spec = None
    if arguments.preset:
        from tui.operations.plan import resolve_spec

        spec = resolve_spec(arguments.preset, arguments.sets)
    count = arguments.gpus or (spec.gpus if spec else 1)
    found = list_offers(open_account(), spec, count, arguments.sort)
    shown = [item for item in found if arguments.all_cards or item.fits is not False]
    if arguments.json:
        print_json([_offer_json(item) for item in shown])
        return 0
    headings = ("CARD", "GPUS", "VRAM EACH", "CLOUD", "STOCK", "$/H", "SPOT $/H", "FITS", "DATA CENTERS")
    print(table(headings, [_offer_row(item) for item in shown]))
    left_out = len(found) - len(shown)
    if left_out:
        note(f"{left_out} offers on which {arguments.preset} does not fit are left out (--all-cards)")
    if spec and found and found[0].fits is None:
        note(f"the shape of {spec.model} is not known: whether it fits can't be said")
    return 0


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
        "need_bytes": item.need_bytes,
    }


def _offer_row(item: SizedOffer) -> tuple[str, ...]:
    offer = item.offer
    fits = {True: "yes", False: "no", None: "-"}[item.fits]
    spot = "-" if offer.spot_price_per_h is None else f"{offer.spot_price_per_h:.2f}"
    return (
        printable(offer.name),
        str(offer.count),
        size(offer.vram_bytes),
        offer.cloud,
        offer.stock or "-",
        f"{offer.price_per_h:.2f}",
        spot,
        fits,
        printable(", ".join(offer.data_centers)) or "-",
    )


def _list(arguments: argparse.Namespace) -> int:
    cloud = open_account()
    uses = operation.pods_in_use(cloud, History())
    balance = cloud.balance()
    if arguments.json:
        pods = [{**pod_json(use.pod), "runs": list(use.runs), "orphan": use.orphan} for use in uses]
        money = None
        if balance:
            money = {"dollars": balance.dollars, "spend_per_h": balance.spend_per_h}
        print_json({"pods": pods, "balance": money})
        return 0
    headings = ("POD", "NAME", "STATE", "GPUS", "DATA CENTER", "$/H", "AGE", "$ AT MOST", "RUNS")
    print(table(headings, [_pod_row(use) for use in uses]))
    if balance:
        left = duration(3600 * balance.dollars / balance.spend_per_h) if balance.spend_per_h > 0 else "no end"
        note(f"balance ${balance.dollars:.2f}, spending ${balance.spend_per_h:.2f}/h: {left} left")
    for use in uses:
        if use.orphan:
            note(f"no run is live on {use.pod.id}; end it with: finetui pods terminate {use.pod.id}")
    return 0


def _pod_row(use: PodUse) -> tuple[str, ...]:
    pod = use.pod
    age_s = None if pod.created is None else max(0.0, time.time() - pod.created)
    spent = "-" if age_s is None or not pod.price_per_h else f"{pod.price_per_h * age_s / 3600:.2f}"
    return (
        printable(pod.id),
        printable(pod.name),
        pod.state,
        f"{pod.count} x {printable(pod.gpu)}" if pod.gpu else "-",
        printable(pod.data_center) or "-",
        f"{pod.price_per_h:.2f}",
        "-" if age_s is None else duration(age_s),
        spent,
        ", ".join(use.runs) or ("none" if pod.marker else "not ours"),
    )


def _stop(arguments: argparse.Namespace) -> int:
    cloud = open_account()
    pod = operation.find_pod(cloud, arguments.pod)
    operation.stop_pod(cloud, pod)
    return _done(arguments, pod, "stopped", "its volume is still billed, and its GPU may be rented to others")


def _resume(arguments: argparse.Namespace) -> int:
    cloud = open_account()
    pod = operation.resume_pod(cloud, operation.find_pod(cloud, arguments.pod))
    return _done(arguments, pod, "starting", f"see what is well with: finetui doctor runpod:{pod.id}")


def _terminate(arguments: argparse.Namespace) -> int:
    cloud, history = open_account(), History()
    pod = operation.find_pod(cloud, arguments.pod)
    operation.terminate_pod(cloud, pod, history, force=arguments.force)
    return _done(arguments, pod, "gone", "nothing of it is billed any more")


def _done(arguments: argparse.Namespace, pod: Pod, state: str, hint: str) -> int:
    if arguments.json:
        print_json({"pod": pod.id, "name": pod.name, "state": state})
    else:
        print(f"{pod.id} ({printable(pod.name)}): {state}")
        note(hint)
    return 0
