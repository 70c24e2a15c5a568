"""Puts the agent on a machine as one content-addressed file, and starts a relay there."""

from __future__ import annotations

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
_PYTHONS = "python3 python3.13 python3.12 python3.11 python3.10"

#: Sent on stdin to ``sh -s``, so that no login shell (fish, csh) has to understand it.
_PROBE = """\
echo {marker}
state=${{FINETUI_STATE_DIR:-}}
if [ -z "$state" ]; then
  state=$HOME/.local/state/finetui
  if [ -d /workspace ] && [ -w /workspace ]; then state=/workspace/.finetui; fi
fi
echo "state=$state"
if [ -f "$state/agent/{build}/agent.pyz" ]; then echo installed=yes; fi
for name in {pythons}; do
  found=$(command -v "$name") || continue
  "$found" -I -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue
  echo "python=$found"
  break
done
"""

#: Reads the file from stdin and renames it into place only when its hash is right.
_RECEIVE = """\
import hashlib, os, sys
data = sys.stdin.buffer.read()
if hashlib.sha256(data).hexdigest() != sys.argv[2]:
    sys.exit("the upload was cut short")
os.makedirs(os.path.dirname(sys.argv[1]), mode=0o700, exist_ok=True)
part = sys.argv[1] + "." + str(os.getpid())
try:
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, sys.argv[1])
except OSError as error:
    if os.path.exists(part):
        os.unlink(part)
    sys.exit(error.strerror)
"""


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
            part.unlink(missing_ok=True)
            raise RemoteError(
                f"can't put the agent into {path.parent}",
                cause=error.strerror or str(error),
                remedy="free some space there, or set FINETUI_STATE_DIR to another directory",
            ) from error
    return shlex.join([sys.executable, "-I", str(path)])


def install_there(machine: Machine, target: str, build: AgentBuild) -> str:
    """Put the agent on a machine that is reached by a shell; return the command that runs it.

    Uploads nothing when that build is there. Raises Unreachable saying what the machine lacks.
    """
    found = _probe(machine, target, build)
    if "python" not in found:
        raise Unreachable(
            f"{target} has no Python 3.10 or later",
            remedy="install python3 there, or choose an image that has it",
        )
    python, path = found["python"], f"{found['state']}/agent/{build.name}/agent.pyz"
    if "installed" not in found:
        command = shlex.join([python, "-I", "-c", _RECEIVE, path, build.sha256])
        code, _, errors = machine.run(f"sh -c {shlex.quote(command)}", stdin=build.data)
        if code != 0:
            raise Unreachable(
                f"can't put the agent on {target} into {found['state']}",
                cause=errors.decode("utf-8", "replace").strip(),
                remedy="free some space there, or set FINETUI_STATE_DIR on that machine",
            )
    return shlex.join([python, "-I", path])


def _probe(machine: Machine, target: str, build: AgentBuild) -> dict[str, str]:
    marker = secrets.token_hex(16)
    script = _PROBE.format(marker=marker, build=build.name, pythons=_PYTHONS)
    _, output, errors = machine.run("sh -s", stdin=script.encode())
    _, seen, answer = output.decode("utf-8", "replace").partition(marker + "\n")
    found = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    if not seen or not found.get("state"):
        raise Unreachable(
            f"{target} has no usable shell",
            cause=errors.decode("utf-8", "replace").strip()[-500:],
            remedy="check that `ssh HOST sh -c true` works there",
        )
    return found


def open_relay(machine: Machine, target: str, agent: str) -> tuple[Link, bytes]:
    """Start a relay and return its link with the bytes that came after the marker."""
    marker = f"finetui-{secrets.token_hex(16)}"
    link = machine.open_link(f"exec {agent} relay {marker}")
    try:
        return link, skip_noise(link, marker, target)
    except BaseException:
        link.close()
        raise


def skip_noise(link: Link, marker: str, target: str) -> bytes:
    """Read up to the marker line, whatever a shell printed before it; return what came after.

    Raises Unreachable at the end of the stream, on too much noise and on another protocol.
    """
    data = b""
    sign = f"{marker} ".encode()
    while True:
        start = data.find(sign)
        end = data.find(b"\n", start) if start >= 0 else -1
        if end >= 0:
            break
        if len(data) > MAX_NOISE_BYTES:
            raise Unreachable(
                f"the shell of {target} prints too much at login",
                cause=data[:200].decode("utf-8", "replace"),
                remedy="silence its start-up files for sessions without a terminal",
            )
        more = link.read(65536)
        if not more:
            raise Unreachable(
                f"the agent on {target} did not start",
                cause=(link.last_words() or data[-500:].decode("utf-8", "replace")).strip(),
                remedy=f"see what is wrong with: finetui doctor {target}",
            )
        data += more
    version = data[start + len(sign) : end].decode("ascii", "replace").strip()
    if version != str(PROTOCOL_VERSION):
        raise Unreachable(
            f"the agent on {target} speaks protocol {version}, this finetui {PROTOCOL_VERSION}",
            remedy="install the same version of finetui on both sides",
        )
    return data[end + 1 :]
