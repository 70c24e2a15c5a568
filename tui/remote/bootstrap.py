"""The agent as one content-addressed file; puts it on this machine and starts a relay here."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import shlex
import sys
import zipfile
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import remote_agent
from remote_agent.protocol import MAX_NOISE_BYTES, PROTOCOL_VERSION
from tui.errors import RemoteError, Unreachable
from tui.remote.link import Link
from tui.remote.machine import Machine

_MAIN = b"import sys\n\nfrom remote_agent.__main__ import main\n\nsys.exit(main(sys.argv[1:]))\n"
#: The oldest time that a zip entry can have.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class AgentBuild:
    """The agent as one file; ``name`` is its version and the start of its hash."""

    name: str
    sha256: str
    data: bytes


def build_agent() -> AgentBuild:
    """Zip the installed ``remote_agent`` package; the same sources give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [("__main__.py", _MAIN), *_sources(resources.files(remote_agent), "remote_agent")]:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o600 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    return AgentBuild(f"{remote_agent.VERSION}-{sha256[:12]}", sha256, data)


def _sources(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir() and item.name != "__pycache__":
            found += _sources(item, f"{prefix}/{item.name}")
        elif item.name.endswith(".py"):
            found.append((f"{prefix}/{item.name}", item.read_bytes()))
    return found


def local_state_dir() -> Path:
    """Return this machine's state directory, found as the agent finds it."""
    chosen = os.environ.get("FINETUI_STATE_DIR")
    if chosen:
        return Path(chosen).absolute()
    volume = Path("/workspace")
    if volume.is_dir() and os.access(volume, os.W_OK):
        return volume / ".finetui"
    return Path.home() / ".local" / "state" / "finetui"


def install_here(build: AgentBuild) -> str:
    """Put the agent on this machine and return the command that runs it; raises RemoteError."""
    path = local_state_dir() / "agent" / build.name / "agent.pyz"
    if not path.is_file():
        part = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.touch(0o600)
            part.write_bytes(build.data)
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise RemoteError(
                f"can't put the agent into {path.parent}",
                cause=error.strerror or str(error),
                remedy="free some space there, or set FINETUI_STATE_DIR to another directory",
            ) from error
    return shlex.join([sys.executable, "-I", str(path)])


def open_relay(machine: Machine, target: str, agent: str) -> tuple[Link, bytes]:
    """Start a relay and return its link with the bytes that came after the marker."""
    marker = f"finetui-{secrets.token_hex(16)}"
    link = machine.open_link(f"exec {agent} relay {marker}")
    try:
        version, rest = read_answer(link, marker, target)
        if version is None:
            raise Unreachable(
                f"the agent on {target} did not start",
                cause=(link.last_words() or rest[-500:].decode("utf-8", "replace")).strip(),
                remedy=f"see what is wrong with: finetui doctor {target}",
            )
        check_protocol(version, target)
    except BaseException:
        link.close()
        raise
    return link, rest


def read_answer(link: Link, marker: str, target: str) -> tuple[str | None, bytes]:
    """Read up to the line with ``marker``, whatever a shell printed before it.

    Returns the rest of that line and what came after it, or None and what was said when the stream ended
    without it. Raises Unreachable on too much noise and OSError.
    """
    data = b""
    sign = f"{marker} ".encode()
    while True:
        start = data.find(sign)
        end = data.find(b"\n", start) if start >= 0 else -1
        if end >= 0:
            return data[start + len(sign) : end].decode("ascii", "replace").strip(), data[end + 1 :]
        if len(data) > MAX_NOISE_BYTES:
            raise Unreachable(
                f"the login shell of {target} prints too much",
                cause=f"over {MAX_NOISE_BYTES} bytes before our command ran: {data[:80]!r} ...",
                remedy="quieten ~/.bashrc (or the like) there for sessions without a terminal",
            )
        more = link.read(65536)
        if not more:
            return None, data
        data += more


def check_protocol(version: str, target: str) -> None:
    """Raise Unreachable when the relay on ``target`` speaks another protocol than this finetui."""
    if version != str(PROTOCOL_VERSION):
        raise Unreachable(
            f"the agent on {target} speaks protocol {version}, this finetui {PROTOCOL_VERSION}",
            remedy="install the same version of finetui on both sides",
        )
