"""``finetui serve RUN[@STEP]``."""

from __future__ import annotations

import argparse
import threading

from tui.commands.connecting import connect
from tui.commands.output import note, print_json
from tui.commands.progress import progress_printer
from tui.errors import Unreachable
from tui.operations.runs import resolve
from tui.operations.serve import SERVE_IDLE_S, close_server, open_server


def serve(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; a server that was there before is left running."""
    found = resolve(arguments.run, arguments.on, connect)
    with connect(found.target) as client:
        server = open_server(
            client, found.run, found.step, idle_s=SERVE_IDLE_S, on_status=progress_printer(note)
        )
        if arguments.json:
            document = {
                "run": server.run,
                "checkpoint": server.checkpoint,
                "url": server.url,
                "key": server.key,
            }
            print_json(document)
        else:
            print(f"OPENAI_BASE_URL={server.url}\nOPENAI_API_KEY={server.key}", flush=True)
            note(f"serving {server.checkpoint}; Ctrl-C ends it")
        gone = threading.Event()
        client.notify_on_close(lambda reason: gone.set())
        try:
            gone.wait()
        except KeyboardInterrupt:
            if not server.reused:
                close_server(client, server)
            return 0
    raise Unreachable(
        f"the connection to {found.target} ended", cause=client.reason, remedy="run serve again"
    )
