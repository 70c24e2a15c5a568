"""What the command line imports and how it ends, whatever happens."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

import pytest

from tui import cli
from tui.commands.table import COMMANDS
from tui.errors import Unreachable

HEAVY = (
    "textual",
    "paramiko",
    "msgspec",
    "yaml",
    "httpx",
    "platformdirs",
    "psutil",
    "dataclasses",
    "asyncio",
)


def imported_by(*arguments: str) -> set[str]:
    code = (
        "import sys\n"
        "from tui.cli import main\n"
        "try:\n"
        f"    main({list(arguments)!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        "sys.stderr.write(chr(10).join(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    return {name.partition(".")[0] for name in done.stderr.splitlines()}


def test_help_imports_nothing_that_it_does_not_need() -> None:
    assert imported_by("--help") & set(HEAVY) == set()


def test_presets_import_no_ssh_and_no_textual() -> None:
    assert imported_by("presets", "--json") & {"textual", "paramiko"} == set()


def test_every_command_of_the_table_has_its_handler() -> None:
    for name, handler, text, _ in COMMANDS:
        assert callable(cli._handler(handler)), name
        assert text


def run_with(monkeypatch: pytest.MonkeyPatch, handler: object, *options: str) -> int:
    monkeypatch.setattr(cli, "_handler", lambda path: handler)
    return cli.main([*options, "runs", "--json"])


def test_an_expected_error_is_json_with_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: argparse.Namespace) -> int:
        raise Unreachable("gpu1 is away", cause="timed out", remedy="switch it on")

    assert run_with(monkeypatch, fail) == 3
    shown = json.loads(capsys.readouterr().err)
    assert shown == {
        "error": {"message": "gpu1 is away", "cause": "timed out", "remedy": "switch it on", "exit_code": 3}
    }


def test_an_unexpected_error_is_one_line_and_how_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: argparse.Namespace) -> int:
        raise ZeroDivisionError("oops")

    assert run_with(monkeypatch, fail) == 1
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: oops" in shown
    assert "--debug" in shown
    assert "Traceback" not in shown


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: argparse.Namespace) -> int:
        raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError):
        run_with(monkeypatch, fail, "--debug")


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(arguments: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    assert run_with(monkeypatch, interrupt) == 130


def test_a_reader_that_leaves_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from tui.cli import main; sys.exit(main(['presets', '--json']))"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=30)
    assert said == b""


def test_a_dumb_terminal_is_told_about_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from tui.commands.app import require_terminal
    from tui.errors import InvalidInput

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(InvalidInput, match="TERM is dumb"):
        require_terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    require_terminal()
