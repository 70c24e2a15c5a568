"""A private, real sshd on 127.0.0.1 with its own keys, configuration and home directory."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
_START_TIMEOUT_S = 10.0


def require_sshd() -> str:
    """Return the path of sshd; without one, skip loudly, or fail where FINETUI_REQUIRE_SSHD=1."""
    if SSHD:
        return SSHD
    reason = "NO sshd ON THIS MACHINE: the SSH promises are not tested (install openssh-server)"
    if os.environ.get("FINETUI_REQUIRE_SSHD") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "", *options: str) -> Path:
    """Make a key pair with ssh-keygen and return the private half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path), *options]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


class PrivateSshd:
    """sshd as the user who runs the tests; logs in that user (or, as root, any other)."""

    def __init__(
        self,
        folder: Path,
        *,
        host_keys: Sequence[Path] = (),
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self._binary = require_sshd()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.user = user or getpass.getuser()
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)
        self.host_keys = list(host_keys) or [make_key(folder / "host_ed25519")]
        # sshd reads this file as the user who logs in, who can't look into our folder.
        self.authorized_keys = (Path(pwd.getpwnam(user).pw_dir) if user else folder) / "authorized_keys"
        self.authorized_keys.touch()
        self.env = {"HOME": str(self.home), **(env or {})}
        self.options = list(options)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "sshd.log"

    @property
    def address(self) -> str:
        return f"{self.user}@127.0.0.1:{self.port}"

    def authorize(self, private_key: Path) -> None:
        with self.authorized_keys.open("a") as file:
            file.write(private_key.with_name(private_key.name + ".pub").read_text())

    def start(self) -> PrivateSshd:
        if os.getuid() == 0:
            # The directory of privilege separation: the distribution's service makes it at boot.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text("\n".join(self._config()) + "\n")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "-D", "-e", "-f", str(config)], stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"sshd did not start: {self.log.read_text()}")
            threading.Event().wait(0.02)

    def sessions(self) -> list[int]:
        """Return the pids of the children of this sshd: one or two a connection."""
        assert self._process is not None
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def kill_sessions(self) -> None:
        """kill -9 every connection's processes, as a crash of them would."""
        for pid in self.sessions():
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for victim in (*map(int, children), pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)

    def stop(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            self.kill_sessions()
        self._process.kill()
        self._process.wait()
        self._process = None

    def _config(self) -> list[str]:
        env = " ".join(f'"{name}={value}"' for name, value in self.env.items())
        return [
            "ListenAddress 127.0.0.1",
            f"Port {self.port}",
            *(f"HostKey {key}" for key in self.host_keys),
            f"AuthorizedKeysFile {self.authorized_keys}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "LogLevel VERBOSE",
            "PrintMotd no",
            "MaxStartups 100",
            f"SetEnv {env}",
            *self.options,
        ]

    def __enter__(self) -> PrivateSshd:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Laptop:
    """The client's side: its own finetui home, SSH configuration, keys and known_hosts file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "ssh_config"
        self.known_hosts = folder / "known_hosts"
        self.key = make_key(folder / "id_test")
        monkeypatch.setenv("FINETUI_HOME", str(folder / "finetui"))
        monkeypatch.setenv("FINETUI_SSH_CONFIG", str(self.config))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        self.configure()

    def configure(self, *lines: str, key: Path | None = None) -> None:
        """Write the SSH configuration: ``lines`` first (the first value wins), then defaults."""
        defaults = [
            "Host *",
            f"  IdentityFile {key or self.key}",
            "  IdentitiesOnly yes",
            f"  UserKnownHostsFile {self.known_hosts}",
            "  GlobalKnownHostsFile none",
        ]
        self.config.write_text("\n".join([*lines, *defaults]) + "\n")

    def know(self, sshd: PrivateSshd, *, port: int | None = None, marker: str = "", key: int = 0) -> None:
        """Add the server's host key to the user's known_hosts file, at ``port`` or its own."""
        kind, blob = public_key(sshd.host_keys[key])
        with self.known_hosts.open("a") as file:
            file.write(f"{marker} [127.0.0.1]:{port or sshd.port} {kind} {blob}\n".lstrip())


def public_key(private: Path) -> tuple[str, str]:
    """Return the type and the base64 text of the public half."""
    kind, blob, *_ = private.with_name(private.name + ".pub").read_text().split()
    return kind, blob


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
