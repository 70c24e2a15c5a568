"""Every command of the command line in one place; handlers are imported only when they run."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Argument = tuple[tuple[str, ...], dict[str, Any]]
    Command = tuple[str, str, str, tuple[Argument, ...]]


def _argument(*names: str, **options: Any) -> Argument:
    return names, options


def positive(text: str) -> int:
    """Read a whole number above 0."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def positive_number(text: str) -> float:
    """Read a number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def minutes(text: str) -> float:
    """Read a number from 0 on."""
    return 0.0 if text == "0" else positive_number(text)


_RUN = _argument("run", metavar="RUN", help="a run's id, or the beginning or end of it")
_RUN_AT = _argument("run", metavar="RUN[@STEP]", help="a run, and a checkpoint's step or `base`")
_ON = _argument("--on", metavar="TARGET", help="the machine (default: where the run was seen last)")
_JSON = _argument("--json", action="store_true", help="print JSON")
# Suppressed where absent, so that it does not undo `finetui --debug COMMAND`.
_DEBUG = _argument(
    "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
)
_FOLLOW = _argument("-f", "--follow", action="store_true", help="go on until the run ends")
_SET = _argument(
    "--set", metavar="KEY=VALUE", action="append", default=[], dest="sets", help="change a setting"
)
_MAP = _argument("--map", metavar="COLUMN=ROLE,...", default="", help="which column is what")
_DATA = _argument(
    "--data", metavar="FILE", help="JSONL, JSON or CSV (a LLaMA-Factory YAML of one's own may name it)"
)
_ROLES = "Roles for --map: prompt, input, response, rejected, system, messages, text."


def _command(name: str, handler: str, help_text: str, *arguments: Argument) -> Command:
    return name, f"tui.commands.{handler}", help_text, (*arguments, _DEBUG)


COMMANDS: tuple[Command, ...] = (
    _command(
        "demo",
        "demo:demo",
        "train the embedded demo on this machine and chat with it",
        _argument("--headless", action="store_true", help="print progress lines instead of opening the app"),
    ),
    _command(
        "presets",
        "presets:presets",
        "list the presets, or show one",
        _argument("action", nargs="?", choices=["show"], help="show one preset"),
        _argument("name", nargs="?", metavar="NAME"),
        _JSON,
    ),
    _command(
        "data",
        "data:data",
        "format, columns, rows, lengths, first rows as the model will see them",
        _argument("file", metavar="FILE"),
        _argument("--preset", metavar="P", help="judge the lengths by this preset"),
        _MAP,
        _JSON,
    ),
    _command(
        "estimate",
        "estimate:estimate",
        "what a preset needs on each GPU, and whether it fits a card",
        _argument("preset", metavar="PRESET"),
        _argument("--gpu", metavar="NAME", help='a card, for example "RTX 4090"'),
        _argument("--gpus", metavar="N", type=int, help="how many of them"),
        _argument("--data", metavar="FILE", help="a dataset, to say how long the run takes"),
        _MAP,
        _SET,
        _JSON,
    ),
    _command(
        "check",
        "check:check",
        "everything that can fail before a GPU is paid for",
        _argument("preset", metavar="PRESET"),
        _DATA,
        _argument("--on", metavar="TARGET", help="check against this machine too"),
        _MAP,
        _SET,
        _JSON,
    ),
    _command(
        "launch",
        "launch:launch",
        "start a run and return as soon as it exists",
        _argument("preset", metavar="PRESET"),
        _DATA,
        _argument("--on", metavar="TARGET", default="local", help="the machine (default: local)"),
        _MAP,
        _SET,
        _argument("--dry-run", metavar="DIR", help="write what would be launched to DIR and stop there"),
        _argument("--follow", action="store_true", help="stay until the run ends"),
        _JSON,
    ),
    _command("runs", "runs:runs", "list the runs of all known targets, newest first", _ON, _JSON),
    _command("status", "status:status", "state and numbers of a run", _RUN, _ON, _JSON),
    _command(
        "logs",
        "logs:logs",
        "print the log of a run",
        _RUN,
        _FOLLOW,
        _argument("-n", "--lines", metavar="N", type=int, help="only the last N lines"),
        _ON,
        _JSON,
    ),
    _command("metrics", "metrics:metrics", "print the metrics of a run", _RUN, _FOLLOW, _ON, _JSON),
    _command(
        "checkpoints",
        "checkpoints:checkpoints",
        "list the checkpoints of a run",
        _RUN,
        _argument(
            "--drop-optimizer",
            metavar="STEP",
            dest="steps",
            type=int,
            nargs="+",
            help="remove the optimizer states of these old checkpoints of an ended run first",
        ),
        _ON,
        _JSON,
    ),
    _command(
        "stop",
        "stop:stop",
        "save a checkpoint and stop the run",
        _RUN,
        _argument("--force", action="store_true", help="kill it without a checkpoint"),
        _argument("--no-wait", action="store_true", help="return at once"),
        _ON,
        _JSON,
    ),
    _command("resume", "resume:resume", "go on from a checkpoint (default: the newest)", _RUN_AT, _ON, _JSON),
    _command("delete", "delete:delete", "delete an ended run with its checkpoints", _RUN, _ON, _JSON),
    _command(
        "chat",
        "chat:chat",
        "chat with a checkpoint (default: the newest) or the base",
        _RUN_AT,
        _argument("-m", "--message", metavar="TEXT", help="ask this and print the reply"),
        _argument("--system", metavar="TEXT", help="a system prompt"),
        _argument("--temperature", metavar="T", type=float, default=0.0, help="0, the default, is greedy"),
        _argument("--top-p", metavar="P", type=float, default=1.0),
        _argument("--max-tokens", metavar="N", type=int, default=512),
        _ON,
        _JSON,
    ),
    _command(
        "serve",
        "serve:serve",
        "an OpenAI-compatible endpoint on this machine's loopback",
        _RUN_AT,
        _ON,
        _JSON,
    ),
    _command(
        "export",
        "export:export",
        "write a checkpoint as others use it, checked; merge a LoRA into its base; push to the Hub",
        _RUN_AT,
        _argument(
            "--merge", action="store_true", help="merge a LoRA into its base (default: the adapter alone)"
        ),
        _argument("--push", metavar="OWNER/NAME", help="upload it to the Hub; a new repository is private"),
        _ON,
        _JSON,
    ),
    _command(
        "pull",
        "pull:pull",
        "copy a checkpoint or an export to this machine (default: the newest)",
        _RUN_AT,
        _argument("folder", metavar="DIR"),
        _ON,
        _JSON,
    ),
    _command(
        "files",
        "files:files",
        "list a folder of the target's state directory, or save a file of it",
        _argument("target", metavar="TARGET"),
        _argument("path", nargs="?", default="", metavar="PATH"),
        _argument("--save", metavar="FILE", help="copy the file PATH to FILE"),
        _JSON,
    ),
    _command(
        "pods",
        "pods:pods",
        "rent machines at RunPod, see what they cost, and hand them back",
        _argument("action", choices=["offers", "create", "list", "stop", "resume", "terminate"]),
        _argument("pod", nargs="?", metavar="POD", help="a pod's id or name (stop, resume, terminate)"),
        _argument("--preset", metavar="P", help="only cards on which this preset fits"),
        _SET,
        _argument("--data", metavar="FILE", help="reckon hours and dollars for this data"),
        _MAP,
        _argument("--gpus", metavar="N", type=positive, help="GPUs of the pod (default: the preset's)"),
        _argument("--all-cards", action="store_true", help="also cards on which it may not fit"),
        _argument(
            "--sort", choices=["price", "dollars", "vram", "stock", "name"], default="price", help="of offers"
        ),
        _argument(
            "--gpu",
            metavar="CARD",
            action="append",
            default=[],
            help="create: a card; again for the next best",
        ),
        _argument("--cloud", action="append", default=[], choices=["secure", "community"]),
        _argument("--data-center", metavar="DC", action="append", default=[]),
        _argument("--name", metavar="NAME", help="create: the pod's name (default: the preset's)"),
        _argument("--hours", metavar="H", type=positive_number, help="create, resume: its deadline (24)"),
        _argument("--budget", metavar="$", type=positive_number, help="create: end it before it costs more"),
        _argument(
            "--idle",
            metavar="MIN",
            type=minutes,
            default=60.0,
            help="create, resume: stop it when idle so long (60; 0: never)",
        ),
        _argument("--volume", metavar="GIB", type=positive, help="create: size of /workspace"),
        _argument("--network-volume", metavar="ID", help="create: use this volume as /workspace"),
        _argument("--image", metavar="IMAGE", help="create: another image with sshd and /start.sh"),
        _argument("--spot", action="store_true", help="create: interruptible, at the spot price"),
        _argument("--force", action="store_true", help="terminate: although a run is live on it"),
        _JSON,
    ),
    _command("targets", "targets:targets", "the machines that finetui knows", _JSON),
    _command(
        "doctor",
        "doctor:doctor",
        "what is well and what is not on a target",
        _argument("target", metavar="TARGET", nargs="?", default="local"),
        _JSON,
    ),
)

EPILOGS = {"launch": _ROLES, "check": _ROLES, "data": _ROLES}
