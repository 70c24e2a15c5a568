"""``finetui pods list|stop|terminate``: the account's pods and what becomes of them."""

from __future__ import annotations

import argparse
import time
from typing import Any

from tui.clouds.base import Pod
from tui.clouds.runpod import open_account
from tui.commands.output import duration, iso, note, print_json, printable, table
from tui.operations import pods as operation
from tui.operations import rent_deadline
from tui.operations.pods import PodUse
from tui.state.history import History


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
        "terminate_after": iso(rent_deadline.find(pod.marker)),
        "ours": bool(pod.marker),
    }


def list_pods(arguments: argparse.Namespace) -> int:
    """Print every pod of the account, its price and its runs, and the ways to end those that nobody uses."""
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
    headings = ("POD", "NAME", "STATE", "GPUS", "DATA CENTER", "$/H", "AGE", "$ AT MOST", "ENDS IN", "RUNS")
    print(table(headings, [_pod_row(use) for use in uses]))
    if balance:
        left = duration(3600 * balance.dollars / balance.spend_per_h) if balance.spend_per_h > 0 else "no end"
        note(f"balance ${balance.dollars:.2f}, spending ${balance.spend_per_h:.2f}/h: {left} left")
    for use in uses:
        if use.orphan:
            pod = printable(use.pod.id)
            note(f"no run is live on {pod}; end it with: finetui pods terminate {pod}")
    return 0


def _pod_row(use: PodUse) -> tuple[str, ...]:
    pod = use.pod
    age_s = None if pod.created is None else max(0.0, time.time() - pod.created)
    ends = rent_deadline.find(pod.marker)
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
        "-" if ends is None else duration(ends - time.time()),
        ", ".join(use.runs) or ("none" if pod.marker else "not ours"),
    )


def stop(arguments: argparse.Namespace) -> int:
    """Stop a pod."""
    cloud = open_account()
    pod = operation.find_pod(cloud, arguments.pod)
    operation.stop_pod(cloud, pod)
    return _done(arguments, pod, "stopped", "its volume is still billed, and its GPU may be rented to others")


def terminate(arguments: argparse.Namespace) -> int:
    """End a pod with its disks."""
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
