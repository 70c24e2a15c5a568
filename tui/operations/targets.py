"""Targets: how they are written, which are known, and how to connect to one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tui.config import load_config
from tui.errors import InvalidInput, Unreachable
from tui.remote.agent_client import AgentClient
from tui.remote.bootstrap import build_agent, install_here, install_there, open_relay
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

    An agent of another build makes room for ours; runs never notice. Raises InvalidInput for a malformed
    name, Unreachable when the machine or the agent can't be reached, RemoteError when the agent can't start.
    """
    parsed = parse_target(target)
    client, build = _connect_once(parsed, ask)
    if client.hello.build != build and "handover" in client.hello.caps:
        client.request("agent.handover", {"build": build})
        client.close()
        client, _ = _connect_once(parsed, ask)
    return client


def _connect_once(target: Target, ask: Ask | None) -> tuple[AgentClient, str]:
    machine = _machine(target, ask)
    try:
        build = build_agent()
        here = target.kind == "local"
        agent = install_here(build) if here else install_there(machine, target.text, build)
        link, first_bytes = open_relay(machine, target.text, agent)
    except BaseException:
        machine.close()
        raise
    client = AgentClient(link, target=target.text, machine=machine, first_bytes=first_bytes)
    try:
        client.greet()
    except BaseException:
        client.close()
        raise
    return client, build.name


def _machine(target: Target, ask: Ask | None) -> Machine:
    if target.kind == "local":
        return LocalMachine()
    if target.kind == "runpod":
        raise Unreachable(
            f"{target.text}: pods are not supported by this version",
            remedy="connect to the pod by SSH: --on root@HOST:PORT",
        )
    from tui.remote import ssh, ssh_ask

    return ssh.connect(target.text, ask or ssh_ask.nobody_to_ask())
