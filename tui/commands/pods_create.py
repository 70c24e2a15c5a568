"""``finetui pods create|resume``: stage by stage, and nothing is left billed when it does not work."""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

from tui.clouds.base import Pod
from tui.clouds.runpod import open_account
from tui.commands.connecting import terminal_ask
from tui.commands.output import duration, iso, note, print_json
from tui.commands.pods_list import pod_json
from tui.commands.pods_offers import load_of
from tui.errors import InvalidInput
from tui.operations import rent_resume, targets
from tui.operations.pods import find_pod, refuse_used_name
from tui.operations.rent import rent
from tui.operations.rent_guard import arm, guard_of
from tui.operations.rent_offers import (
    DEFAULT_HOURS,
    DEFAULT_IMAGE,
    Ranking,
    list_offers,
    make_wish,
    rank,
)
from tui.operations.rent_place import Time
from tui.operations.rent_stages import Progress, Report, Stages
from tui.remote.ssh_ask import Ask


def create(arguments: argparse.Namespace) -> int:
    """Rent the first card that can be had and wait until its agent answers."""
    if not arguments.preset and not arguments.gpu:
        raise InvalidInput(
            "pods create needs to know what for",
            remedy="name a preset (--preset P: the cheapest card on which it fits), or cards (--gpu CARD)",
        )
    load = load_of(arguments)
    count = load.count if load else arguments.gpus or 1
    name = arguments.name or (_slug(load.spec.preset) if load else "pod")
    wish = make_wish(
        name,
        load,
        image=arguments.image or DEFAULT_IMAGE,
        volume_gib=arguments.volume,
        hours=arguments.hours or DEFAULT_HOURS,
        budget=arguments.budget,
        network_volume=arguments.network_volume or "",
    )
    ranking = Ranking(
        gpus=tuple(arguments.gpu),
        clouds=tuple(arguments.cloud),
        data_centers=tuple(arguments.data_center),
        spot=arguments.spot,
    )
    with _ended_by_signals():
        cloud = open_account()
        candidates = rank(list_offers(cloud, load, count), ranking, all_cards=arguments.all_cards)
        refuse_used_name(cloud, name)
        rented = rent(cloud, wish, candidates, terminal_ask(), _reporter(), reach=_reach)
    _finish(arguments, rented.pod, rented.terminate_after, str(rented.candidate))
    return 0


def resume(arguments: argparse.Namespace) -> int:
    """Start a stopped pod with a new deadline and wait until its agent answers."""
    with _ended_by_signals():
        cloud = open_account()
        pod = find_pod(cloud, arguments.pod)
        now = time.time()
        terminate_after = now + 3600 * (arguments.hours or DEFAULT_HOURS)
        stages = Stages(cloud, terminal_ask(), _reporter(), _reach, Time())
        ready = rent_resume.resume(cloud, pod, terminate_after, now, stages)
    _finish(arguments, ready, terminate_after, f"${ready.price_per_h:.2f}/h")
    return 0


def _slug(preset: str) -> str:
    """The preset's name as far as it can be a pod's."""
    plain = "".join(char if char.isascii() and char.isalnum() else "-" for char in preset.lower())
    return plain[:30].strip("-") or "pod"


def _reach(target: str, ask: Ask) -> None:
    targets.connect(target, ask).close()


def _finish(arguments: argparse.Namespace, pod: Pod, terminate_after: float, what: str) -> None:
    """Arm the guard and say what there is now."""
    target = f"runpod:{pod.id}"
    idle_s = None if arguments.idle == 0 else 60.0 * arguments.idle
    unguarded = arm(target, terminal_ask(), guard_of(pod, terminate_after, time.time(), idle_s))
    if unguarded:
        note(f"warning: the guard on the pod is not armed, only its deadline holds: {unguarded}")
    if arguments.json:
        print_json({**pod_json(pod), "guarded": not unguarded})
        return
    print(f"{target} is ready: {what}")
    most = pod.price_per_h * (terminate_after - time.time()) / 3600
    note(f"it ends by itself at {iso(terminate_after)}, after ${most:.2f} more at most; its disks go with it")
    note(f"train on it with: finetui launch PRESET --data FILE --on {target}")


def _reporter() -> Report:
    """Return a function that prints each stage when it is reached, and every half minute that it lasts."""
    last, at_s = ("", ""), 0.0

    def show(progress: Progress) -> None:
        nonlocal last, at_s
        if progress.note:
            note(progress.note)
            last = ("", "")
            return
        key = (progress.stage, progress.pod or progress.what)
        if key == last and progress.elapsed_s < at_s + 30.0:
            return
        at_s = progress.elapsed_s if key == last else 0.0
        last = key
        spent = f"{duration(progress.elapsed_s)} of at most {duration(progress.limit_s)}"
        note(f"{progress.stage:9} {progress.pod or progress.what}  {spent}")

    return show


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let a closed terminal and a kill end the renting as Ctrl-C does: with the pod handed back."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
