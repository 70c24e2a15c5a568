"""``finetui pods offers|create|list|stop|resume|terminate``."""

from __future__ import annotations

import argparse
from importlib import import_module

from tui.errors import InvalidInput

#: Imported when they run: looking at offers needs no SSH.
_ACTIONS = {
    "offers": "pods_offers:offers",
    "create": "pods_create:create",
    "list": "pods_list:list_pods",
    "stop": "pods_list:stop",
    "resume": "pods_create:resume",
    "terminate": "pods_list:terminate",
}


def pods(arguments: argparse.Namespace) -> int:
    """Do what the action says; raises InvalidInput when a pod is named where none is needed, or not named."""
    needs_pod = arguments.action in ("stop", "resume", "terminate")
    if needs_pod != bool(arguments.pod):
        wrong = "needs a pod" if needs_pod else f"takes no pod ({arguments.pod!r})"
        raise InvalidInput(
            f"pods {arguments.action} {wrong}",
            remedy=f"finetui pods {arguments.action}" + (" POD, as finetui pods list shows it" * needs_pod),
        )
    module, _, function = _ACTIONS[arguments.action].partition(":")
    return int(getattr(import_module(f"tui.commands.{module}"), function)(arguments))
