"""Builds the Python environment of a trainer, once for all runs that need the same one.

``environment --run RUNDIR`` reads ``environment`` {name, pins, late_pins, probe} of the run's spec and
writes ``environment.json`` {path, python, bin} when it is ready. Standard output and error are the run's log;
when the build fails, the last line ``finetui: ...`` says what, why and what to do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote_agent import environment_installer as installing
from remote_agent.documents import read_json, write_json
from remote_agent.environment_progress import InstallProgress, incoming_bytes, run_followed
from remote_agent.errors import AgentError
from remote_agent.job_environment import has_gpu
from remote_agent.places import Places
from remote_agent.program import PACKAGE_ROOT

#: 5.5 GB installed (torch with CUDA and DeepSpeed), the rest for downloads that are being unpacked.
NEEDED_BYTES = 8 * 10**9
WAIT_REPORT_EVERY_S = 5.0
_NETWORK_SIGNS = (
    "dns error", "error sending request", "tcp connect error", "failed to fetch", "connection refused",
    "network is unreachable", "temporary failure in name resolution", "failed to establish a new connection",
    "connection reset", "operation timed out", "read timed out", "newconnectionerror",
)  # fmt: skip


class BuildError(Exception):
    """The environment can't be built; ``str`` is one sentence with the remedy, for the run's log."""


@dataclass(frozen=True)
class Request:
    """The environment that a run needs."""

    name: str
    pins: str
    late_pins: str
    probe: tuple[str, ...]

    def folder(self, environments: Path, tag: str) -> Path:
        """Return where it lives: another pin or another Python is another environment."""
        content = f"{self.pins}\0{self.late_pins}\0{tag}"
        return environments / f"{self.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def read_request(run_dir: Path) -> Request:
    """Return the environment that ``spec.json`` asks for; raises BuildError when it names none."""
    wanted = (read_json(run_dir / "spec.json") or {}).get("environment")
    if not isinstance(wanted, dict) or not wanted.get("name") or not wanted.get("pins"):
        raise BuildError(f"{run_dir / 'spec.json'} names no environment to build; launch the run again")
    return Request(
        name=str(wanted["name"]),
        pins=str(wanted["pins"]),
        late_pins=str(wanted.get("late_pins") or ""),
        probe=tuple(str(module) for module in wanted.get("probe") or ()),
    )


@dataclass(frozen=True)
class Builder:
    """One build for one run; ``environ`` are the variables that the installer inherits."""

    request: Request
    folder: Path
    run_dir: Path
    environ: Mapping[str, str]
    base: installing.BasePython
    started: float

    def build(self) -> None:
        """Make the environment from nothing; what is already downloaded is used. Raises BuildError."""
        self._check_disk()
        shutil.rmtree(self.folder, ignore_errors=True)
        installer = installing.Installer(self._uv(), self.base, self.folder)
        self.report("looking at the machine's own Python")
        reuse = has_gpu() and installing.image_has_torch(self.base, self.request.pins)
        if reuse:
            self.say("this machine's Python already has the right torch: using it")
        self._run(installer.make_venv(system_site=reuse), "make an empty environment")
        self._install(installer, reuse=reuse)
        self._probe(installer)
        write_json(self.folder / "READY.json", {"run": self.run_dir.name, "built": time.time()})
        self.say(f"environment ready after {time.time() - self.started:.0f} s: {self.folder}")

    def _install(self, installer: installing.Installer, *, reuse: bool) -> None:
        pins = installing.without_torch(self.request.pins) if reuse else self.request.pins
        requirements = self.folder / "pins.txt"
        requirements.write_text(pins, encoding="utf-8")
        # Beside a torch of the image nothing may be resolved: uv does not see it and would install another.
        options: tuple[str, ...] = ("--no-deps",) if reuse else ()
        if has_gpu() and not reuse:
            matching = self.folder / "pins-any-cuda.txt"
            matching.write_text(installing.without_cuda(pins), encoding="utf-8")
            self.report("looking for the torch that fits this driver")
            if installing.torch_backend_works(installer, matching, self.environ):
                self.say("installing the torch that fits this machine's driver")
                requirements, options = matching, ("--torch-backend=auto",)
        self._run(installer.install(requirements, *options), "install the pinned packages")
        if self.request.late_pins:
            late = self.folder / "late-pins.txt"
            late.write_text(self.request.late_pins, encoding="utf-8")
            self._run(installer.install(late, "--no-build-isolation"), "install the packages that need torch")

    def _uv(self) -> str | None:
        tools = self.folder.parent / f"tools-{installing.UV_PIN.replace('==', '-')}"
        found = installing.find_uv(self.environ, tools)
        if found:
            return found
        try:
            for command in installing.uv_install_commands(tools):
                self._run(command, "install uv")
        except BuildError as error:
            self.say(f"uv can't be had, installing with pip: {error}")
            return None
        return installing.find_uv(self.environ, tools)

    def _probe(self, installer: installing.Installer) -> None:
        command = [str(installer.python), "-m", "remote_agent.trainers.warm_up", *self.request.probe]
        doing = f"import {', '.join(self.request.probe)} and compile what the first run needs"
        self._run(command, doing, PYTHONPATH=str(PACKAGE_ROOT))

    def _run(self, command: list[str], doing: str, **variables: str) -> None:
        """Run one command with its output in the log; raises BuildError when it fails."""
        progress = InstallProgress()
        cache = installing.cache_directory(self.environ)

        def tick() -> None:
            detail = progress.detail(incoming_bytes(cache)) or doing
            self.report(detail, progress.done_bytes or None, progress.total_bytes or None)

        def line(text: str) -> None:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
            progress.feed(text)

        self.report(doing)
        try:
            code, tail = run_followed(command, {**self.environ, **variables}, line, tick)
        except OSError as error:
            raise BuildError(f"could not {doing}: {command[0]} can't be started: {error.strerror}") from error
        if code:
            raise BuildError(explain(doing, code, tail))

    def _check_disk(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder.parent).free
        if free < NEEDED_BYTES:
            raise BuildError(
                f"the trainer environment needs {NEEDED_BYTES / 1e9:.0f} GB of disk and {self.folder.parent}"
                f" has {free / 1e9:.1f} GB free; free some space, or set FINETUI_ENVIRONMENTS_DIR on the"
                " machine to a larger disk, then resume the run"
            )

    def report(self, detail: str, done: float | None = None, total: float | None = None) -> None:
        """Show the step on the user's screen; a full disk shows up in the installer's own error."""
        write_phase(self.run_dir, detail, self.started, done, total)

    def say(self, sentence: str) -> None:
        """Put one line of ours into the log."""
        say(sentence)


def explain(doing: str, code: int, tail: list[str]) -> str:
    """Return one sentence for a failed command: what, why, and what to do."""
    text = "\n".join(tail).lower()
    last = next((line.strip() for line in reversed(tail) if line.strip()), f"exit code {code}")
    if "no space left on device" in text or "disk quota exceeded" in text:
        return f"could not {doing}: the disk is full; free some space and resume the run"
    if any(sign in text for sign in _NETWORK_SIGNS):
        return (
            f"could not {doing}: the package index can't be reached ({last}); give this machine access to the"
            " network, or set UV_INDEX_URL to a mirror, then resume the run: what was downloaded is kept"
        )
    return f"could not {doing}: {last}; the lines above say more"


def write_phase(
    run_dir: Path, detail: str, started: float, done: float | None = None, total: float | None = None
) -> None:
    """Replace phase.json; a disk that refuses it does not stop the build."""
    document = {"phase": "environment", "detail": detail, "done": done, "total": total, "started": started}
    try:
        write_json(run_dir / "phase.json", document)
    except OSError as error:
        say(f"phase.json could not be written: {error.strerror}")


def say(sentence: str) -> None:
    """Put one line of ours into the run's log."""
    sys.stdout.flush()
    sys.stderr.write(f"finetui: {sentence}\n")
    sys.stderr.flush()


@contextmanager
def exclusively(lock: Path, owner: str, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold ``lock``; while another run has it, tell ``waiting`` which one about every five seconds."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting(os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another run")
                time.sleep(WAIT_REPORT_EVERY_S / 5)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def find(run_dir: Path, places: Places, environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Return {path, python, bin} of a run's environment when it is there, without starting anything."""
    try:
        request = read_request(run_dir)
    except BuildError:
        return None  # the builder says it in the log
    folder = request.folder(places.environments, installing.find_python(environ).tag)
    return _describe(folder) if _ready(folder) else None


def ensure(run_dir: Path, places: Places, environ: Mapping[str, str]) -> Path:
    """Return the environment of a run, building it when it is not there; raises BuildError or AgentError."""
    request = read_request(run_dir)
    base = installing.find_python(environ)
    folder = request.folder(places.environments, base.tag)
    if _ready(folder):
        return folder
    started = time.time()
    places.create()
    places.environments.mkdir(parents=True, exist_ok=True)
    reported: set[str] = set()

    def waiting(owner: str) -> None:
        write_phase(run_dir, f"waiting for {request.name}, which run {owner} is building", started)
        if owner not in reported:
            reported.add(owner)
            say(f"waiting for the environment {request.name}, which run {owner} is building")

    key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    with exclusively(places.runtime / f"environment-{key}.lock", run_dir.name, waiting):
        if not _ready(folder):
            child = installing.installer_environment(environ, places.environments)
            Builder(request, folder, run_dir, child, base, started).build()
    return folder


def _ready(folder: Path) -> bool:
    return (folder / "READY.json").exists() and (folder / "bin" / "python").exists()


def _describe(folder: Path) -> dict[str, Any]:
    return {"path": str(folder), "python": str(folder / "bin" / "python"), "bin": str(folder / "bin")}


def _on_sigterm(signum: int, frame: object) -> None:
    raise SystemExit(128 + signum)


def main(argv: list[str]) -> int:
    """Make the environment of ``--run RUNDIR`` ready; returns the exit code."""
    if len(argv) != 2 or argv[0] != "--run":
        sys.stderr.write("usage: agent.pyz environment --run RUNDIR\n")
        return 2
    signal.signal(signal.SIGTERM, _on_sigterm)
    run_dir = Path(argv[1]).absolute()
    try:
        folder = ensure(run_dir, Places.from_environment(os.environ), os.environ)
        write_json(run_dir / "environment.json", _describe(folder))
    except (BuildError, AgentError) as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"could not build the trainer environment: {error}; check the disk, then resume the run")
        return 1
    return 0
