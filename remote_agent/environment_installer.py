"""The program that installs a trainer environment: uv, or pip where uv can't be had."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

UV_PIN = "uv==0.13.9"
#: LLaMA-Factory needs 3.11; the pins have wheels up to 3.13.
PYTHONS = ((3, 11), (3, 12), (3, 13))
#: A package index that does not answer within this is not used for a GPU-specific torch.
TORCH_BACKEND_TIMEOUT_S = 60.0
#: Wheels that belong to one CUDA release; another torch build brings its own.
_CUDA_PACKAGES = re.compile(r"(nvidia-|cuda-|triton\b)")
_TORCH_PACKAGES = re.compile(r"torch(vision|audio)?==")


@dataclass(frozen=True)
class BasePython:
    """The Python under an environment: its tag (``cp311``) and a path or version that uv understands."""

    tag: str
    request: str


def find_python(environ: Mapping[str, str]) -> BasePython:
    """Return the agent's own Python when it is new enough, else one on PATH, else 3.11 for uv to fetch.

    Starts no interpreter.
    """
    if sys.version_info[:2] in PYTHONS:
        own = getattr(sys, "_base_executable", sys.executable) or sys.executable
        return BasePython(f"cp{sys.version_info[0]}{sys.version_info[1]}", own)
    for major, minor in reversed(PYTHONS):
        found = shutil.which(f"python{major}.{minor}", path=environ.get("PATH"))
        if found:
            return BasePython(f"cp{major}{minor}", found)
    return BasePython("cp311", "3.11")


def find_uv(environ: Mapping[str, str], tools: Path) -> str | None:
    """Return the path of a uv that is there: on PATH, in ~/.local/bin, or ours in ``tools``."""
    home = Path(environ.get("HOME") or Path("~").expanduser())
    for folder in (
        environ.get("PATH"),
        str(home / ".local/bin"),
        str(home / ".cargo/bin"),
        str(tools / "bin"),
    ):
        found = shutil.which("uv", path=folder) if folder else None
        if found:
            return found
    return None


def uv_install_commands(tools: Path) -> tuple[list[str], list[str]]:
    """Return the commands that put a uv of our own into ``tools``."""
    venv = [sys.executable, "-m", "venv", "--clear", str(tools)]
    pip = [str(tools / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", UV_PIN]
    return venv, pip


@dataclass(frozen=True)
class Installer:
    """Commands for one environment; ``uv`` is None where only pip is there."""

    uv: str | None
    base: BasePython
    venv: Path

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.venv / "bin" / "python"

    def make_venv(self, *, system_site: bool) -> list[str]:
        """Return the command that makes the empty environment."""
        site = ["--system-site-packages"] if system_site else []
        if self.uv:
            return [
                self.uv,
                "venv",
                "--clear",
                "--python",
                self.base.request,
                *site,
                str(self.venv),
            ]
        return [self.base.request, "-m", "venv", "--clear", *site, str(self.venv)]

    def install(self, requirements: Path, *options: str) -> list[str]:
        """Return the command that installs exact pins; ``options`` go to the installer."""
        if self.uv:
            head = [self.uv, "pip", "install", "--python", str(self.python)]
        else:
            head = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check"]
        return [*head, *options, "-r", str(requirements)]


def installer_environment(environ: Mapping[str, str], environments: Path) -> dict[str, str]:
    """Return the variables of the installer; its cache is on the environments' disk: files are linked."""
    left_out = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
    result = {name: value for name, value in environ.items() if name not in left_out}
    result.setdefault("UV_HTTP_TIMEOUT", "120")
    result["DS_BUILD_OPS"] = "0"
    cache = cache_directory(environ)
    if "UV_CACHE_DIR" not in result and _device(cache) != _device(environments):
        result["UV_CACHE_DIR"] = str(environments / ".uv-cache")
    return result


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return where uv keeps its downloads."""
    if environ.get("UV_CACHE_DIR"):
        return Path(environ["UV_CACHE_DIR"])
    home = Path(environ.get("HOME") or Path("~").expanduser())
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "uv"


def _device(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return path.stat().st_dev


def image_has_torch(base: BasePython, pins: str) -> bool:
    """Say whether the machine's Python already has the pinned torch packages, built for CUDA."""
    wanted = sorted(line for line in pins.splitlines() if _TORCH_PACKAGES.match(line))
    program = (
        "import torch; from importlib.metadata import version as v\n"
        "for n in ('torch', 'torchaudio', 'torchvision'):\n print(n + '==' + v(n).split('+')[0])\n"
        "assert torch.version.cuda"
    )
    try:
        done = subprocess.run(
            [base.request, "-c", program], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and sorted(done.stdout.split()) == wanted


def without_torch(pins: str) -> str:
    """Return the pins that are left to install beside a torch of the image."""
    kept = [line for line in without_cuda(pins).splitlines() if not _TORCH_PACKAGES.match(line)]
    return "\n".join(kept) + "\n"


def without_cuda(pins: str) -> str:
    """Return the pins without the wheels of one CUDA release."""
    return "\n".join(line for line in pins.splitlines() if not _CUDA_PACKAGES.match(line)) + "\n"


def torch_backend_works(installer: Installer, requirements: Path, environ: Mapping[str, str]) -> bool:
    """Say whether the torch build for this machine's driver can be had: a dry run, short in time."""
    if not installer.uv:
        return False
    command = [installer.uv, "pip", "install", "--python", str(installer.python), "--dry-run"]
    command += ["--torch-backend=auto", "-r", str(requirements)]
    try:
        done = subprocess.run(
            command,
            env={**environ, "UV_HTTP_TIMEOUT": "10"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TORCH_BACKEND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == os.EX_OK
