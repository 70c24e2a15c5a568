"""The command line: ``finetui`` opens the app, ``finetui COMMAND`` does one thing.

Argparse, because click alone costs 4.6 times its import, and nothing that parsing does not need: a command's
module is imported when it runs, Textual only when the app opens.
"""

from __future__ import annotations

import argparse
import os
import sys

from presets.errors import FinetuiError
from tui.commands.table import COMMANDS, EPILOGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_CODES = """\
exit codes: 0 done, 1 the run or the remote operation failed, 2 wrong use or invalid input (nothing was
changed), 3 the target can't be reached, 4 a cost guard refused. `finetui COMMAND --help` tells more."""
REPORT = "This is a fault of finetui. Please report it with the output of the same command and --debug."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        handler = _handler(arguments.handler)
        code = handler(arguments)
        sys.stdout.flush()
    except FinetuiError as error:
        if arguments.debug:
            raise
        _tell(error, arguments.json)
        return error.exit_code
    except KeyboardInterrupt:
        if arguments.debug:
            raise
        return 130
    except BrokenPipeError:
        # The reader left: say nothing, and keep the interpreter from trying to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if arguments.debug:
            raise
        unexpected = FinetuiError(f"unexpected {type(error).__name__}: {error}", remedy=REPORT)
        _tell(unexpected, arguments.json)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="finetui",
        description="Fine-tune LLMs on rented GPUs from a terminal. Without a command: opens the app.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(handler="tui.commands.app:app", json=False)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, handler, text, arguments in COMMANDS:
        command = commands.add_parser(
            name, help=text, description=text, epilog=EPILOGS.get(name), allow_abbrev=False
        )
        command.set_defaults(handler=handler)
        for flags, options in arguments:
            command.add_argument(*flags, **options)
    return parser


class _Version(argparse.Action):
    """Reads the version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"finetui {version('finetui')}\n")
        parser.exit()


def _handler(path: str) -> Callable[[argparse.Namespace], int]:
    from importlib import import_module

    module, _, function = path.partition(":")
    handler: Callable[[argparse.Namespace], int] = getattr(import_module(module), function)
    return handler


def _tell(error: FinetuiError, as_json: bool) -> None:
    if as_json:
        import json

        document = {"message": error.message, "cause": error.cause, "remedy": error.remedy}
        sys.stderr.write(json.dumps({"error": {**document, "exit_code": error.exit_code}}) + "\n")
    else:
        sys.stderr.write(f"finetui: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
