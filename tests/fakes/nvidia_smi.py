"""A machine with GPUs, as far as nvidia-smi says: a script in a folder for the front of PATH."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

_SCRIPT = """#!{python}
import pathlib, sys
folder = pathlib.Path({folder!r})
asked = next((word for word in sys.argv[1:] if word.startswith("--query-")), "")
table, _, fields = asked.partition("=")
gpus = [line.split("|") for line in (folder / "gpus").read_text().splitlines()]
if table == "--query-compute-apps":
    sys.stdout.write((folder / "apps").read_text())
elif fields == "index,uuid":
    for index, name, vram in gpus:
        print(f"{{index}}, GPU-{{index}}")
elif fields.startswith("driver_version"):
    for _ in gpus:
        print("570.86.15, 0")
elif table == "--query-gpu":
    for index, name, vram in gpus:
        print(f"{{index}}, {{name}}, {{(folder / 'util').read_text()}}, 10, {{vram}}, 40, 50.00, 300.00")
else:
    print("| NVIDIA-SMI 570.86.15   Driver Version: 570.86.15   CUDA Version: 12.8 |")
"""


class FakeGpus:
    """``apps`` holds lines ``GPU-0, PID, MIB``; a test or a job may write it."""

    def __init__(self, folder: Path, *names: str) -> None:
        folder.mkdir(parents=True)
        self.apps = folder / "apps"
        self.apps.write_text("")
        (folder / "gpus").write_text("".join(f"{index}|{name}|24576\n" for index, name in enumerate(names)))
        self._util = folder / "util"
        self.utilise(0)
        script = folder / "nvidia-smi"
        script.write_text(_SCRIPT.format(python=sys.executable, folder=str(folder)))
        script.chmod(0o755)
        self.folder = folder

    def utilise(self, percent: int) -> None:
        self._util.write_text(str(percent))

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have processes started from now on find this nvidia-smi."""
        monkeypatch.setenv("PATH", f"{self.folder}{os.pathsep}{os.environ['PATH']}")
