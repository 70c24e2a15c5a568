"""The effective OpenSSH configuration of an address.

``ssh -G`` answers where there is an OpenSSH client: it knows Include, Match and canonical names. Without one
paramiko's parser reads ``~/.ssh/config`` (no Include there). ``FINETUI_SSH_CONFIG`` names another file, as
``ssh -F`` does.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from presets.errors import InvalidInput
from tui.remote.known_hosts import DEFAULT_PORT, host_name

CONNECT_TIMEOUT_S = 15.0
_CONFIG_TIMEOUT_S = 20.0
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk", "id_xmss", "id_dsa")

Options = dict[str, list[str]]


@dataclass(frozen=True)
class Address:
    """``[user@]host[:port]`` as the user wrote it; None where nothing was said."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user + '@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"


@dataclass(frozen=True)
class Own:
    """What finetui itself knows of a machine, before any configuration: for machines that it rented.

    ``host_key_alias`` is the name under which the host key is kept, ``identity`` the only key to log in with.
    """

    host_key_alias: str = ""
    identity: Path | None = None

    def applied(self, config: SshConfig) -> SshConfig:
        """Return ``config`` with what is known put in its place."""
        if self.host_key_alias:
            # Under a name of ours no file of the user's can vouch: strict would mean never.
            config = replace(config, host_key_alias=self.host_key_alias.lower(), strict=False)
        if self.identity:
            config = replace(config, identity_files=(self.identity,), identities_only=True, identity_agent="")
        return config


@dataclass(frozen=True)
class SshConfig:
    """What connecting to one hop needs; ``connect_timeout_s`` is for the TCP connection."""

    address: Address
    hostname: str
    port: int
    user: str
    identity_files: tuple[Path, ...] = ()
    identities_only: bool = False
    #: Path of the agent's socket, "" for none.
    identity_agent: str = ""
    proxy_command: str = ""
    proxy_jump: tuple[Address, ...] = ()
    host_key_alias: str = ""
    known_hosts_files: tuple[Path, ...] = ()
    #: StrictHostKeyChecking yes: unknown keys are refused without a question.
    strict: bool = False
    connect_timeout_s: float = CONNECT_TIMEOUT_S

    @property
    def known_hosts_name(self) -> str:
        """The name of the host in known_hosts files."""
        return self.host_key_alias or host_name(self.hostname, self.port)

    @property
    def bare_name(self) -> str:
        """The host without its port where that may vouch too, else ""."""
        return "" if self.host_key_alias or self.port == DEFAULT_PORT else self.hostname.lower()

    @property
    def where(self) -> str:
        """The hop for messages: ``user@host:port``."""
        return str(Address(self.hostname, self.user, self.port))


def parse_address(text: str) -> Address:
    """Parse ``[ssh://][user@]host[:port]``; IPv6 with a port needs brackets. Raises InvalidInput."""
    rest = text.strip().removeprefix("ssh://").rstrip("/")
    user, _, host_port = rest.rpartition("@")
    bracketed = re.fullmatch(r"\[([^\[\]]+)\](?::(\d+))?", host_port)
    if bracketed:
        host, port = bracketed.group(1), bracketed.group(2)
    elif host_port.count(":") == 1:
        host, port = host_port.split(":")
    else:
        host, port = host_port, None
    # A leading dash would be an option to ssh, and shell characters would reach a ProxyCommand.
    if not re.fullmatch(r"[A-Za-z0-9_.:%][A-Za-z0-9_.:%-]*", host) or not re.fullmatch(
        r"[A-Za-z0-9_.+][A-Za-z0-9_.+@-]*|", user
    ):
        raise InvalidInput(
            f"not an SSH address: {text!r}", remedy="write an alias of ~/.ssh/config or user@host:port"
        )
    if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InvalidInput(
            f"not an SSH address: {text!r}", cause=f"{port!r} is not a port", remedy="use 1 to 65535"
        )
    return Address(host, user or None, int(port) if port else None)


def effective_config(address: Address) -> SshConfig:
    """Return what OpenSSH would use for ``address``; raises InvalidInput when the configuration is broken."""
    custom = os.environ.get("FINETUI_SSH_CONFIG")
    binary = shutil.which("ssh")
    options = _ask_openssh(binary, address, custom) if binary else _read_with_paramiko(address, custom)
    return config_from_options(address, options)


def config_from_options(address: Address, options: Options) -> SshConfig:
    """Build the configuration of one hop from lower-case option names and their values."""

    def first(name: str) -> str:
        value = (options.get(name) or [""])[0]
        return "" if value.lower() == "none" else value

    hostname = first("hostname") or address.host
    port = address.port or int(first("port") or DEFAULT_PORT)
    user = address.user or first("user") or getpass.getuser()
    tokens = _tokens(address, hostname, port, user)
    files = [*options.get("userknownhostsfile", []), *options.get("globalknownhostsfile", [])]
    timeout = first("connecttimeout")
    return SshConfig(
        address=address,
        hostname=hostname,
        port=port,
        user=user,
        identity_files=_identity_files(options.get("identityfile", []), tokens),
        identities_only=first("identitiesonly") == "yes",
        identity_agent=_identity_agent(first("identityagent"), options, tokens),
        proxy_command=_expand(first("proxycommand"), tokens),
        proxy_jump=tuple(parse_address(hop) for hop in first("proxyjump").split(",") if hop),
        host_key_alias=first("hostkeyalias").lower(),
        known_hosts_files=tuple(_path(_expand(file, tokens)) for text in files for file in split_paths(text)),
        strict=first("stricthostkeychecking") in ("yes", "true"),
        connect_timeout_s=float(timeout) if timeout.isdigit() and int(timeout) else CONNECT_TIMEOUT_S,
    )


def parse_ssh_g(text: str) -> Options:
    """Parse the output of ``ssh -G``: one option and its value a line, repeated options in order."""
    options: Options = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        options.setdefault(name.lower(), []).append(value.strip())
    return options


def split_paths(text: str) -> list[str]:
    """Split a list of paths; ``ssh -G`` prints spaces inside a path bare: only / and ~ start a new one."""
    paths: list[str] = []
    for word in text.split():
        if paths and not word.startswith(("/", "~", "%")):
            paths[-1] += " " + word
        elif word.lower() != "none":
            paths.append(word)
    return paths


def default_identity(path: Path) -> bool:
    """Say whether ``path`` is a key that ssh tries when nothing is configured."""
    return path.name in _DEFAULT_KEYS and path.parent == _path("~/.ssh")


def _ask_openssh(binary: str, address: Address, custom: str | None) -> Options:
    command = [binary, "-G", "-T"]
    command += ["-F", custom] if custom else []
    command += ["-l", address.user] if address.user else []
    command += ["-p", str(address.port)] if address.port else []
    try:
        result = subprocess.run(
            [*command, "--", address.host],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_CONFIG_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidInput(
            "reading the SSH configuration takes too long",
            cause=f"ssh -G {address.host} did not end in {_CONFIG_TIMEOUT_S:.0f} s",
            remedy="look for a Match exec line that hangs in ~/.ssh/config",
        ) from error
    if result.returncode != 0:
        raise InvalidInput(
            f"the SSH configuration for {address.host} can't be read",
            cause=result.stderr.strip()[-500:],
            remedy=f"fix it until `ssh -G {address.host}` prints options",
        )
    return parse_ssh_g(result.stdout)


def _read_with_paramiko(address: Address, custom: str | None) -> Options:
    import paramiko

    path = _path(custom or "~/.ssh/config")
    options: Options = {
        "userknownhostsfile": ["~/.ssh/known_hosts ~/.ssh/known_hosts2"],
        "globalknownhostsfile": ["/etc/ssh/ssh_known_hosts"],
    }
    if not path.exists():
        return options
    try:
        found = paramiko.SSHConfig.from_path(str(path)).lookup(address.host)
    except (paramiko.ConfigParseError, paramiko.CouldNotCanonicalize, OSError) as error:
        raise InvalidInput(f"the SSH configuration {path} can't be read", cause=str(error)) from error
    for name, value in found.items():
        options[name] = list(value) if isinstance(value, list) else [str(value)]
    return options


def _identity_files(configured: list[str], tokens: dict[str, str]) -> tuple[Path, ...]:
    names = [name for name in configured if name.lower() != "none"]
    if not configured:
        names = [f"~/.ssh/{name}" for name in _DEFAULT_KEYS]
    return tuple(dict.fromkeys(_path(_expand(name, tokens)) for name in names))


def _identity_agent(configured: str, options: Options, tokens: dict[str, str]) -> str:
    if (options.get("identityagent") or [""])[0].lower() == "none":
        return ""
    if configured in ("", "SSH_AUTH_SOCK"):
        return os.environ.get("SSH_AUTH_SOCK", "")
    if configured.startswith("$"):
        return os.environ.get(configured.strip("${}"), "")
    return str(_path(_expand(configured, tokens)))


def _tokens(address: Address, hostname: str, port: int, user: str) -> dict[str, str]:
    local = socket.gethostname()
    identity = f"{local}{hostname}{port}{user}"
    return {
        "%": "%",
        "C": hashlib.sha1(identity.encode()).hexdigest(),
        "d": str(Path.home()),
        "h": hostname,
        "i": str(os.getuid()),
        "k": hostname,
        "L": local.split(".")[0],
        "l": local,
        "n": address.host,
        "p": str(port),
        "r": user,
        "u": getpass.getuser(),
    }


def _expand(text: str, tokens: dict[str, str]) -> str:
    return re.sub(r"%(.)", lambda match: tokens.get(match.group(1), match.group(0)), text)


def _path(text: str) -> Path:
    return Path(text).expanduser()
