"""Targets: how they are written, which are known, and how to connect to one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tui.config import load_config
from tui.errors import InvalidInput
from tui.remote.agent_client import AgentClient
from tui.remote.bootstrap import AgentBuild, build_agent, install_here, open_relay
from tui.remote.link import Link
from tui.remote.machine import LocalMachine, Machine
from tui.state.history import History

if TYPE_CHECKING:
    from tui.remote.ssh_ask import Ask

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:\[\]%-]*")


@dataclass(frozen=True)
class Target:
    """A machine as the user names it: ``local``, an SSH alias or ``user@host:port``, ``runpod:POD``."""

    text: str
    kind: Literal["local", "ssh", "runpod"]


def parse_target(text: str) -> Target:
    """Read a target's name; raises InvalidInput."""
    if text == "local":
        return Target(text, "local")
    if not _NAME.fullmatch(text):
        raise InvalidInput(
            f"{text!r} is not a target",
            remedy="write local, an alias of your SSH configuration, or user@host:port",
        )
    return Target(text, "runpod" if text.startswith("runpod:") else "ssh")


def known_targets() -> list[str]:
    """Return the targets of the settings and of the runs seen so far, ``local`` first."""
    seen = ["local", *load_config().targets, *(entry.target for entry in History().entries())]
    return list(dict.fromkeys(seen))


def connect(target: str, ask: Ask | None = None) -> AgentClient:
    """Connect to the agent on ``target``, installing and starting it there where it is not.

    An older agent makes room for ours, which our relay sees to; runs never notice. Raises InvalidInput for a
    malformed name, Unreachable when the machine or the agent can't be reached, RemoteError when the agent
    can't start.
    """
    parsed = parse_target(target)
    machine, link, first_bytes = _reach(parsed, build_agent(), ask)
    client = AgentClient(link, target=parsed.text, machine=machine, first_bytes=first_bytes)
    try:
        client.greet()
    except BaseException:
        client.close()
        raise
    return client


def _reach(target: Target, build: AgentBuild, ask: Ask | None) -> tuple[Machine, Link, bytes]:
    """Return the machine, a relay on it and the first bytes that the relay sent."""
    if target.kind == "local":
        local = LocalMachine()
        return local, *open_relay(local, target.text, install_here(build))
    from tui.remote import remote_bootstrap, ssh, ssh_ask

    ask = ask or ssh_ask.nobody_to_ask()
    if target.kind == "runpod":
        from tui.clouds.runpod import open_account
        from tui.operations.rent_ssh import connect_pod

        machine = connect_pod(open_account(), target.text.removeprefix("runpod:"), ask)
    else:
        machine = ssh.connect(target.text, ask)
    try:
        relay = remote_bootstrap.open_relay(machine, build)
    except BaseException:
        machine.close()
        raise
    return machine, relay.link, relay.first_bytes
