"""Brings the agent to a machine over SSH and opens a relay to it.

The second connect is one command: the relay starts at once where its build is found. Otherwise one probe
looks for a Python and a folder, and the agent goes up as one file, checked before it gets its name.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from remote_agent.protocol import MAX_NOISE_BYTES
from tui.errors import FinetuiError, Unreachable
from tui.remote.bootstrap import AgentBuild, check_protocol, read_answer
from tui.remote.remote_scripts import LOADER, PROBE, START, UPLOAD, answers, script_input
from tui.remote.ssh import SshMachine
from tui.remote.ssh_link import SshLink
from tui.remote.time_limit import time_limit

#: A cold network volume and a loaded pod take long to start an interpreter.
START_TIMEOUT_S = 60.0
PROBE_TIMEOUT_S = 60.0
UPLOAD_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Relay:
    """A link whose marker line has been read; ``first_bytes`` came with it and belong to the protocol."""

    link: SshLink
    first_bytes: bytes
    uploaded: bool


@dataclass(frozen=True)
class Probe:
    """What one look at a machine found."""

    state_dir: str
    python: str


def open_relay(
    machine: SshMachine, build: AgentBuild, say: Callable[[str], None] = lambda text: None
) -> Relay:
    """Return a relay of ``build``, after uploading it where it is absent.

    ``say`` is told what is being done. Raises Unreachable with the cause and the remedy.
    """
    found = _start(machine, build.name)
    if found is not None:
        return Relay(*found, uploaded=False)
    say("looking for Python")
    probe = look_at(machine)
    say("uploading the agent")
    upload(machine, probe, build)
    found = _start(machine, build.name)
    if found is None:
        raise Unreachable(
            f"the agent vanished from {machine.where} right after its upload",
            cause=f"{probe.state_dir}/agent/{build.name} is not there any more",
            remedy="look for something that cleans that folder, or set FINETUI_STATE_DIR on the machine",
        )
    return Relay(*found, uploaded=True)


def look_at(machine: SshMachine) -> Probe:
    """Find a Python and make the state directory; raises Unreachable."""
    marker = secrets.token_hex(16)
    code, out, err = machine.run(LOADER, script_input(PROBE, marker), timeout_s=PROBE_TIMEOUT_S)
    found = answers(out, marker)
    first = dict(reversed(found))
    if not {"system", "state", "end"} <= first.keys():
        raise _no_answer(machine, code, out, err)
    if not first["system"].startswith("Linux"):
        raise Unreachable(
            f"{machine.where} runs {first['system']}",
            cause="finetui's agent needs Linux",
            remedy="pick a Linux machine",
        )
    if "python" not in first:
        seen = [rest for word, rest in found if word == "unsuitable"]
        raise Unreachable(
            f"{machine.where} has no Python 3.10 or later",
            cause=f"found only {', '.join(seen)}" if seen else "found none in PATH, /opt/conda or /usr/local",
            remedy="install one (apt-get install python3), or start the pod from an image with PyTorch",
        )
    if "writable" not in first:
        raise _not_writable(machine, first["state"], first.get("unwritable", ""))
    return Probe(state_dir=first["state"], python=first["python"])


def upload(machine: SshMachine, probe: Probe, build: AgentBuild) -> None:
    """Store the agent under its build name, whole or not at all; raises Unreachable."""
    marker = secrets.token_hex(16)
    folder = f"{probe.state_dir}/agent/{build.name}"
    arguments = (marker, folder, probe.python, build.sha256)
    code, out, err = machine.run(
        LOADER, script_input(UPLOAD, *arguments) + build.data, timeout_s=UPLOAD_TIMEOUT_S
    )
    words = [word for word, _ in answers(out, marker)]
    if words == ["stored"]:
        return
    if words == ["failed"]:
        raise _not_writable(machine, folder, err.decode("utf-8", "replace"))
    if words == ["torn"]:
        raise Unreachable(
            f"the agent did not arrive whole on {machine.where}",
            cause="its SHA-256 is not that of what was sent; the copy was removed",
            remedy="try again",
        )
    raise _no_answer(machine, code, out, err)


def _start(machine: SshMachine, build: str) -> tuple[SshLink, bytes] | None:
    """Return a running relay and the bytes after its marker line, or None when the build is not there."""
    marker = secrets.token_hex(16)
    link = machine.open_link(LOADER)
    try:
        # A login shell that hangs must not hang us: closing the link ends the read.
        with time_limit(START_TIMEOUT_S, link.close) as late:
            link.write(script_input(START, marker, build))
            answer, rest = read_answer(link, marker, machine.where)
        if answer is None:
            code = None if late.is_set() else link.exit_code(2.0)
            raise _no_answer(machine, code, rest, link.last_words().encode())
        if answer != "absent":
            check_protocol(answer, machine.where)
            return link, rest
    except OSError as error:
        link.close()
        # A shell that ended before it took our script may have said why.
        said = link.read(MAX_NOISE_BYTES)
        raise _no_answer(machine, link.exit_code(1.0), said, link.last_words().encode()) from error
    except BaseException:
        link.close()
        raise
    link.close()
    return None


def _no_answer(machine: SshMachine, code: int | None, out: bytes, err: bytes) -> FinetuiError:
    said = (err.strip() or out.strip()).decode("utf-8", "replace")[-500:]
    ended = "hung" if code is None else f"ended with code {code}"
    return Unreachable(
        f"{machine.where} did not run our command",
        cause=f"the login shell {ended} and said " + (said or "nothing"),
        remedy="a ~/.bashrc (or the like) that exits or asks is the usual reason: see what "
        "`ssh HOST echo ok` prints",
    )


def _not_writable(machine: SshMachine, folder: str, said: str) -> FinetuiError:
    reason = said.strip()[-300:] or "no permission"
    if "No space left" in reason or "quota" in reason:
        return Unreachable(
            f"the disk of {machine.where} is full",
            cause=f"{folder}: {reason}",
            remedy="free some space there",
        )
    return Unreachable(
        f"can't write to {folder} on {machine.where}",
        cause=reason,
        remedy="set FINETUI_STATE_DIR on the machine to a folder that can be written, or free the volume",
    )
