"""``finetui demo``: a real fine-tuning on this machine, no GPU and no download of a model."""

from __future__ import annotations

import argparse

from remote_agent.protocol import RunStatus
from tui.commands.app import has_terminal
from tui.commands.connecting import connect
from tui.commands.output import number, size
from tui.commands.progress import progress_printer
from tui.operations import demo as operation
from tui.operations.chat import open_chat
from tui.operations.checkpoints import list_checkpoints
from tui.operations.stop import failure, wait_for_end
from tui.remote.agent_client import AgentClient


def demo(arguments: argparse.Namespace) -> int:
    """Open the app on the running demo, or print it as it goes where there is no terminal."""
    headless = arguments.headless or not has_terminal()
    with connect("local") as client:
        run = operation.launch_demo(client).run
        if headless:
            return _headless(client, run)
    from tui.app import run as open_app

    open_app(open_run=run, target="local")
    return 0


def _headless(client: AgentClient, run: str) -> int:
    _say(f"launched {run} on this machine")
    end = wait_for_end(client, run, progress_printer(_say))
    if end.state != "finished":
        raise failure(end)
    _report(end)
    _say("checkpoints:")
    for item in list_checkpoints(client, run):
        _say(f"  {run}@{item.step}  {size(item.bytes)}  {'complete' if item.complete else item.missing}")
    question, answer = operation.training_question()
    session = open_chat(client, run, on_status=progress_printer(_say))
    try:
        reply = session.reply([{"role": "user", "content": question}])
    finally:
        session.close()
    _say(f"question: {question}")
    _say(f"answer:   {reply.text}")
    _say(
        "this is the training row's answer, word for word" if reply.text == answer else f"expected: {answer}"
    )
    _say(f"go on with: finetui chat {run}, finetui status {run}, or the app: finetui")
    return 0


def _report(end: RunStatus) -> None:
    _say(f"final loss {number(end.loss)} at step {end.step}")


def _say(line: str) -> None:
    print(line, flush=True)
