"""Which keys to offer to a server and in which order; no passwords, ever."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.agent import AgentKey, AgentSSH

from tui.errors import Unreachable
from tui.remote.known_hosts import fingerprint
from tui.remote.ssh_ask import Ask
from tui.remote.ssh_config import SshConfig, default_identity
from tui.remote.ssh_keys import KeyProblem, is_locked, load_key, public_blob

#: A hardware key behind the agent waits for a touch.
_AGENT_TIMEOUT_S = 60.0
_PASSPHRASE_TRIES = 3


class Agent(AgentSSH):
    """The ssh-agent at ``path``; paramiko's own looks at SSH_AUTH_SOCK only and waits without a limit."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_AGENT_TIMEOUT_S)
        try:
            self._socket.connect(path)
            self._connect(self._socket)  # type: ignore[attr-defined]
        except (OSError, paramiko.SSHException):
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the socket to the agent."""
        self._socket.close()


@dataclass
class _Report:
    """What was tried, for the error message."""

    tried: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def authenticate(transport: paramiko.Transport, config: SshConfig, ask: Ask) -> str:
    """Log in and return the name of the key that was accepted; raises Unreachable naming the keys tried."""
    report = _Report()
    with contextlib.ExitStack() as stack:
        agent = _open_agent(config, report, stack)
        offered: set[bytes] = set()
        for name, key in _candidates(config, ask, agent, report):
            blob = key.asbytes()
            if blob in offered:
                continue
            offered.add(blob)
            if _offer(transport, config, name, key, report):
                return name
    raise _not_accepted(config, report)


def _open_agent(config: SshConfig, report: _Report, stack: contextlib.ExitStack) -> Agent | None:
    if not config.identity_agent:
        return None
    try:
        agent = Agent(config.identity_agent)
    except (OSError, paramiko.SSHException) as error:
        report.notes.append(f"the ssh-agent at {config.identity_agent} does not answer ({error})")
        return None
    stack.callback(agent.close)
    return agent


def _candidates(
    config: SshConfig, ask: Ask, agent: Agent | None, report: _Report
) -> Iterator[tuple[str, paramiko.PKey]]:
    """Yield keys in the order: configured ones, the agent's others, default files, and locked files last.

    Servers hang up after about six offers, so a key that the user named must not come after a full agent.
    """
    held: dict[bytes, AgentKey] = {key.asbytes(): key for key in agent.get_keys()} if agent else {}
    named = [path for path in config.identity_files if not default_identity(path)]
    defaults = [path for path in config.identity_files if default_identity(path)]
    locked: list[Path] = []

    def files(paths: list[Path]) -> Iterator[tuple[str, paramiko.PKey]]:
        for path in paths:
            blob = public_blob(path)
            if blob is not None and blob in held:
                yield f"{path} (agent)", held[blob]
            elif path in ask.unlocked:
                yield str(path), ask.unlocked[path]
            elif is_locked(path):
                locked.append(path)
            else:
                yield from _from_file(path, None, report)

    yield from files(named)
    if not config.identities_only:
        for key in held.values():
            yield f"agent key {key.comment or key.get_name()}", key
    yield from files(defaults)
    for path in locked:
        yield from _unlock(path, ask, report)


def _from_file(path: Path, passphrase: str | None, report: _Report) -> Iterator[tuple[str, paramiko.PKey]]:
    try:
        key = load_key(path, passphrase)
    except FileNotFoundError:
        if not default_identity(path):
            report.notes.append(f"{path} does not exist")
    except (OSError, KeyProblem) as error:
        report.notes.append(f"{path}: {error}")
    else:
        yield str(path), key


def _unlock(path: Path, ask: Ask, report: _Report) -> Iterator[tuple[str, paramiko.PKey]]:
    for _ in range(_PASSPHRASE_TRIES):
        passphrase = ask.passphrase(path)
        if passphrase is None:
            report.notes.append(f"{path} is locked with a passphrase, and none was given")
            return
        attempt = _Report()
        for name, key in _from_file(path, passphrase, attempt):
            ask.unlocked[path] = key
            yield name, key
            return
        if not any("wrong passphrase" in note for note in attempt.notes):
            report.notes += attempt.notes
            return
    report.notes.append(f"{path}: wrong passphrase")


def _offer(
    transport: paramiko.Transport, config: SshConfig, name: str, key: paramiko.PKey, report: _Report
) -> bool:
    report.tried.append(f"{name} {key.get_name()} {fingerprint(key.asbytes())}")
    try:
        also_needed = transport.auth_publickey(config.user, key)
    except paramiko.BadAuthenticationType as error:
        raise Unreachable(
            f"{config.where} does not take SSH keys",
            cause=f"the server allows: {', '.join(error.allowed_types) or 'nothing'}",
            remedy="switch on public key authentication in the machine's sshd",
        ) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        if not transport.is_active():
            raise _hung_up(config, report, error) from error
        if not isinstance(error, paramiko.AuthenticationException):
            report.notes.append(f"{name}: {error}")
        return False
    if also_needed:
        raise Unreachable(
            f"{config.where} wants more than a key",
            cause=f"the key was accepted; the server also asks for: {', '.join(also_needed)}",
            remedy="finetui logs in with keys alone: allow that for this user in the machine's sshd",
        )
    return True


def _hung_up(config: SshConfig, report: _Report, error: Exception) -> Unreachable:
    return Unreachable(
        f"{config.where} closed the connection while logging in",
        cause=_told(report, f"{str(error) or 'end of stream'}; servers hang up after about six keys"),
        remedy="name the right key: IdentityFile and IdentitiesOnly yes in ~/.ssh/config",
    )


def _not_accepted(config: SshConfig, report: _Report) -> Unreachable:
    if not report.tried:
        return Unreachable(
            f"there is no SSH key to offer to {config.where}",
            cause="; ".join(report.notes) or "neither an ssh-agent nor a key file in ~/.ssh",
            remedy="make one with `ssh-keygen -t ed25519` and add the .pub file to the machine, "
            "or name yours with IdentityFile in ~/.ssh/config",
        )
    return Unreachable(
        f"{config.where} accepts none of your SSH keys",
        cause=_told(report, ""),
        remedy="add the public key to ~/.ssh/authorized_keys of that user on the machine (RunPod: in the "
        "account's settings before the pod starts), or name the right key with IdentityFile in ~/.ssh/config",
    )


def _told(report: _Report, why: str) -> str:
    parts = [why] if why else []
    parts.append("tried " + ", ".join(report.tried))
    return "; ".join(parts + report.notes)
