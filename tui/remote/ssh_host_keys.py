"""Whether to trust the host key of a server; nothing is accepted silently."""

from __future__ import annotations

from pathlib import Path

import paramiko

from tui.errors import Unreachable
from tui.paths import config_dir, private_dir
from tui.remote.known_hosts import (
    Finding,
    KnownHosts,
    KnownLine,
    Verdict,
    fingerprint,
    read_known_hosts,
    remember,
)
from tui.remote.ssh_ask import Ask, HostKeyQuestion
from tui.remote.ssh_config import SshConfig


class HostKeyProblem(Unreachable):
    """The server's key is not to be trusted; ``changed`` when another one was known of it."""

    def __init__(self, message: str, *, cause: str, remedy: str, fingerprint: str, changed: bool) -> None:
        super().__init__(message, cause=cause, remedy=remedy)
        self.fingerprint = fingerprint
        self.changed = changed


def own_known_hosts() -> Path:
    """Return finetui's own known_hosts file; the user's are read, never written."""
    return config_dir() / "known_hosts"


def known_hosts_for(config: SshConfig) -> KnownHosts:
    """Read our own file and those that the SSH configuration names."""
    return read_known_hosts((own_known_hosts(), *config.known_hosts_files))


def prefer_known_types(transport: paramiko.Transport, known: KnownHosts, config: SshConfig) -> None:
    """Ask the server for a type of key that we know of it: another type would look like a changed key."""
    types = known.key_types(config.known_hosts_name, config.bare_name)
    wanted = [name for kind in types for name in _algorithms(kind)]
    options = transport.get_security_options()
    possible = list(options.key_types)
    # HostKeyAlgorithms are signature algorithms: an ssh-rsa key signs with rsa-sha2-*.
    first = [name for name in wanted if name in possible]
    options.key_types = first + [name for name in possible if name not in first]


def verify(transport: paramiko.Transport, known: KnownHosts, config: SshConfig, ask: Ask) -> None:
    """Return when the server's key is known or the user vouches for it; raises Unreachable otherwise."""
    key = transport.get_remote_server_key()
    blob, kind, name = key.asbytes(), key.get_name(), config.known_hosts_name
    finding = known.check(name, kind, blob, config.bare_name)
    if finding.verdict is Verdict.KNOWN:
        return
    if finding.verdict is not Verdict.UNKNOWN:
        raise _refusal(config, kind, blob, finding)
    authorities = known.certificate_authorities(name)
    if config.strict or not ask.host_key(HostKeyQuestion(name, kind, fingerprint(blob), own_known_hosts())):
        raise _unknown(config, kind, blob, authorities)
    _remember(name, kind, blob)


def _remember(name: str, kind: str, blob: bytes) -> None:
    file = own_known_hosts()
    private_dir(file.parent)
    try:
        remember(file, name, kind, blob)
    except OSError as error:
        raise Unreachable(
            f"the host key of {name} can't be remembered",
            cause=f"{file}: {error.strerror}",
            remedy="fix the permissions, or set FINETUI_HOME to a folder that you own",
        ) from error


def _refusal(config: SshConfig, kind: str, blob: bytes, finding: Finding) -> HostKeyProblem:
    line = finding.line
    assert line is not None
    if finding.verdict is Verdict.REVOKED:
        return HostKeyProblem(
            f"the host key of {config.known_hosts_name} is revoked",
            cause=f"{kind} {fingerprint(blob)} is marked @revoked in {line.place}",
            remedy="do not connect: the key is in the wrong hands; ask the machine's owner for a new one",
            fingerprint=fingerprint(blob),
            changed=False,
        )
    return HostKeyProblem(
        f"the host key of {config.known_hosts_name} has changed",
        cause=f"{line.place} knows {line.key_type} {fingerprint(line.key)}, "
        f"the server presents {kind} {fingerprint(blob)}",
        remedy="somebody may be listening in. If the machine was set up anew and you trust it, remove the "
        f"old key: ssh-keygen -f {line.file} -R '{config.known_hosts_name}'",
        fingerprint=fingerprint(blob),
        changed=True,
    )


def _unknown(config: SshConfig, kind: str, blob: bytes, authorities: tuple[KnownLine, ...]) -> HostKeyProblem:
    cause = f"it presents {kind} {fingerprint(blob)}, which no known_hosts file vouches for"
    if authorities:
        cause += f"; {authorities[0].place} trusts a certificate authority for it, which finetui does not use"
    return HostKeyProblem(
        f"the host key of {config.known_hosts_name} is not known",
        cause=cause,
        remedy="compare the fingerprint with the machine's own, then answer yes when finetui asks, or log in "
        "once with ssh",
        fingerprint=fingerprint(blob),
        changed=False,
    )


def _algorithms(kind: str) -> tuple[str, ...]:
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)
