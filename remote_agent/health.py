"""What a doctor would want to know of this machine; each finding with what to do about it."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from remote_agent import builds, cleanup, guard_control, health_gpu, listeners, machine, volume
from remote_agent.finding import GIB, Finding, gib
from remote_agent.identity import Proc
from remote_agent.machine import Machine
from remote_agent.places import Places

#: A small model's environment is 6 GB and one checkpoint of 7 B parameters with optimizer state 84 GB.
WARN_FREE_DISK = 20 * GIB
FAIL_FREE_DISK = 2 * GIB
#: Data loaders and NCCL exchange tensors in /dev/shm; containers default to 64 MB.
WARN_SHM = GIB
WARN_OPEN_FILES = 4096
WARN_PROCESSES = 4096
WARN_RAM = 8 * GIB
WARN_LEFTOVERS = 5 * GIB


def findings(
    places: Places,
    *,
    volume_bytes: int | None = None,
    proc: Proc = Proc(),  # noqa: B008
) -> list[Finding]:
    """Look at everything; takes up to half a minute where the driver or the volume is slow.

    ``volume_bytes`` is the size of the volume as bought, where the caller knows it.
    """
    looks: tuple[Callable[[], list[Finding]], ...] = (
        _python,
        partial(health_gpu.findings, proc),
        partial(_disk, places, volume_bytes),
        _memory,
        _shm,
        _limits,
        partial(_environments, places),
        partial(_listeners, proc),
        partial(_leftovers, places, proc),
        partial(_builds, places),
        partial(_guard, places),
        _clock,
    )
    return [finding for look in looks for finding in look()]


def _python() -> list[Finding]:
    text = f"Python {platform.python_version()} at {sys.executable}, {platform.system()} {platform.machine()}"
    return [Finding("python", "ok", text)]


def _disk(places: Places, volume_bytes: int | None) -> list[Finding]:
    refused = volume.write_probe(places.state)
    if refused is not None:
        text = f"{places.state} can't be written: {refused.strerror}"
        remedy = "free some space (finetui delete RUN), or check that the volume is there"
        return [Finding("disk", "failure", text, remedy)]
    space = volume.space(places.state, size_bytes=volume_bytes)
    if space is None:
        return [Finding("disk", "failure", f"{places.state} can't be asked", "check the volume")]
    counted = f"{'' if space.exact else 'at least '}{gib(space.used)} used"
    if space.free is None:
        text = f"{counted} at {places.state}; df shows a whole cluster, so the quota is not known"
        return [Finding("disk", "warning", text, "compare with the volume's size in the provider's console")]
    text = f"{gib(space.free)} free of {gib(space.total)} at {places.state}, {counted}"
    remedy = "delete old runs (finetui delete RUN) or use a larger volume"
    if space.free < FAIL_FREE_DISK:
        return [Finding("disk", "failure", text, remedy)]
    return [Finding("disk", "warning" if space.free < WARN_FREE_DISK else "ok", text, remedy)]


def _memory() -> list[Finding]:
    here = Machine.here()
    memory = here.memory()
    if memory is None:
        return [Finding("memory", "warning", "unknown: there is no /proc/meminfo")]
    used, total = memory
    text = f"{gib(total - used)} of {gib(total)} RAM free, {here.cores()} cores"
    if total < WARN_RAM:
        return [Finding("memory", "warning", text, "loading a 7B model needs about 16 GiB")]
    return [Finding("memory", "ok", text)]


def _shm() -> list[Finding]:
    space = machine.disk(Path("/dev/shm"))
    if space is None:
        return [Finding("shm", "warning", "there is no /dev/shm", "NCCL may fail with several GPUs")]
    text = f"/dev/shm has {gib(space[1])}"
    if space[1] < WARN_SHM:
        return [Finding("shm", "warning", text, "start the container with --shm-size=1g or more")]
    return [Finding("shm", "ok", text)]


def _limits() -> list[Finding]:
    return [
        _limit(resource.RLIMIT_NOFILE, "open files", WARN_OPEN_FILES, "ulimit -n"),
        _limit(resource.RLIMIT_NPROC, "processes", WARN_PROCESSES, "ulimit -u"),
    ]


def _limit(which: int, of_what: str, enough: int, command: str) -> Finding:
    soft, _ = resource.getrlimit(which)
    if soft == resource.RLIM_INFINITY:
        return Finding("ulimit", "ok", f"any number of {of_what} allowed")
    text = f"{soft} {of_what} allowed"
    if soft < enough:
        return Finding("ulimit", "warning", text, f"raise it: {command} {enough}")
    return Finding("ulimit", "ok", text)


def _environments(places: Places) -> list[Finding]:
    try:
        folders = sorted(entry for entry in places.environments.iterdir() if entry.is_dir())
    except OSError:
        folders = []
    shown = [folder for folder in folders if not folder.name.startswith((".", "tools-"))]
    if not shown:
        return [Finding("environment", "ok", "no trainer environment yet: the first run builds it")]
    return [_environment(folder) for folder in shown]


def _environment(folder: Path) -> Finding:
    if (folder / "READY.json").exists() and (folder / "bin" / "python").exists():
        return Finding("environment", "ok", f"{folder.name} is ready")
    text = f"{folder.name} is not complete: it is being built, or its build was cut"
    return Finding("environment", "warning", text, "nothing to do: the next run that needs it builds it anew")


def _listeners(proc: Proc) -> list[Finding]:
    found = listeners.of_runs(proc)
    if not found:
        return [Finding("listener", "ok", "nothing that finetui started listens")]
    return [_listener(entry) for entry in found]


def _listener(entry: listeners.Listener) -> Finding:
    text = f"{entry.address}:{entry.port}, pid {entry.pid}, run {entry.run}"
    if entry.is_loopback:
        return Finding("listener", "ok", text)
    remedy = (
        "torch's rendezvous (TCPStore) binds every interface whatever it is told; it can be reached only"
        " where this port is mapped, so don't map it"
    )
    return Finding("listener", "warning", text, remedy)


def _leftovers(places: Places, proc: Proc) -> list[Finding]:
    found = cleanup.leftovers(places, proc)
    text = f"uploads {gib(found.blobs)}, deleted runs {gib(found.trash)}, old builds {gib(found.builds)}"
    if found.blobs + found.trash + found.builds < WARN_LEFTOVERS:
        return [Finding("leftovers", "ok", text)]
    remedy = f"what is a day old goes when the agent starts the next time; it is in {places.state}"
    return [Finding("leftovers", "warning", text, remedy)]


def _builds(places: Places) -> list[Finding]:
    remedy = f"the agent before it goes on; see {places.agentd_log}"
    return [Finding("agent", "warning", text, remedy) for text in builds.failures(places)]


def _guard(places: Places) -> list[Finding]:
    found = guard_control.view(places)
    if not found["armed"]:
        return [Finding("guard", "ok", "no guard is armed: nothing here stops this machine by itself")]
    if not found["alive"]:
        remedy = f"the agent starts it within seconds; see {places.agentd_log}"
        return [Finding("guard", "failure", "a guard is armed and its process is gone", remedy)]
    if found["blocked"]:
        text = f"the guard can't act: {found['blocked']}"
        return [Finding("guard", "warning", text, "fetch the results: finetui pull RUN DIR")]
    plan = found["plan"]
    text = f"next: {plan['action']} ({plan['why']})" if plan else "nothing in sight"
    return [Finding("guard", "ok", f"a guard is armed; {text}")]


def _clock() -> list[Finding]:
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return [Finding("clock", "ok", f"{text}; hello carries it, so the laptop can tell the difference")]
