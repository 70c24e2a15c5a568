"""Building a trainer environment as the agent does, with small stand-ins for the pins.

The packages are made on the spot and found through a local folder, so that no test needs an index.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from remote_agent import environments
from remote_agent.environment_installer import UV_PIN
from remote_agent.environment_progress import InstallProgress
from remote_agent.places import Places

REPOSITORY = Path(__file__).parents[3]
UNREACHABLE = "http://127.0.0.1:9/simple"


def make_wheel(folder: Path, name: str, source: str = "") -> None:
    """Write the wheel of a package of one module."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", source)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class Machine:
    """A state directory with runs, and the packages that its index has."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.wheels = tmp_path / "wheels"
        for name in ("first", "second"):
            make_wheel(self.wheels, name)
        self.environ = {
            **os.environ,
            "FINETUI_STATE_DIR": str(tmp_path / "state"),
            "FINETUI_RUNTIME_DIR": str(tmp_path / "run"),
            "UV_FIND_LINKS": str(self.wheels),
            "PIP_FIND_LINKS": str(self.wheels),
            "UV_NO_INDEX": "1",
            "PIP_NO_INDEX": "1",
            "UV_CACHE_DIR": str(tmp_path / "cache"),
        }
        self.environ.pop("FINETUI_ENVIRONMENTS_DIR", None)

    def run(self, name: str, *, pins: str = "first==1.0", late: str = "", probe: str = "first") -> Path:
        path = self.tmp_path / "state" / "runs" / name
        path.mkdir(parents=True)
        wanted = {"name": "tiny", "pins": pins, "late_pins": late, "probe": [probe]}
        (path / "spec.json").write_text(json.dumps({"environment": wanted}))
        return path

    def start(self, run: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "remote_agent", "environment", "--run", str(run)],
            cwd=REPOSITORY,
            env=self.environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def build(self, run: Path) -> tuple[int, str]:
        process = self.start(run)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said


@pytest.fixture
def machine(tmp_path: Path, environments_dir: Path) -> Machine:
    """With the uv that earlier builds on this machine installed, if any: pip takes ten times as long."""
    machine = Machine(tmp_path)
    tools = environments_dir / f"tools-{UV_PIN.replace('==', '-')}" / "bin"
    machine.environ["PATH"] = os.pathsep.join([machine.environ["PATH"], str(tools)])
    return machine


def environment_of(run: Path) -> dict[str, str]:
    return dict(json.loads((run / "environment.json").read_text()))


def eventually(holds: object, deadline_s: float = 60.0) -> None:
    end = time.monotonic() + deadline_s
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_build_installs_pins_and_late_pins_and_the_next_run_finds_it(machine: Machine) -> None:
    first = machine.run("R1", late="second==1.0")
    code, said = machine.build(first)
    assert code == 0, said
    place = environment_of(first)
    subprocess.run([place["python"], "-c", "import first, second"], check=True)
    assert Path(place["bin"]) / "python" == Path(place["python"])
    assert json.loads((first / "phase.json").read_text())["phase"] == "environment"

    shutil.rmtree(machine.wheels)
    second = machine.run("R2", late="second==1.0")
    code, said = machine.build(second)
    assert (code, said) == (0, "")
    assert environment_of(second) == place

    places = Places.from_environment(machine.environ)
    assert environments.find(second, places, machine.environ) == place
    assert environments.find(machine.run("R3", pins="other==1.0"), places, machine.environ) is None


def test_byte_code_is_written_whatever_the_image_says(machine: Machine) -> None:
    machine.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    run = machine.run("R1")
    code, said = machine.build(run)

    assert code == 0, said
    assert list(Path(environment_of(run)["path"]).glob("lib/python*/site-packages/__pycache__/first.*.pyc"))


def test_where_uv_cannot_be_had_pip_builds_it(machine: Machine) -> None:
    machine.environ.update(PATH="/usr/bin:/bin", HOME=str(machine.tmp_path))
    run = machine.run("R1")
    code, said = machine.build(run)

    assert code == 0, said
    assert "finetui: uv can't be had, installing with pip" in said
    subprocess.run([environment_of(run)["python"], "-c", "import first"], check=True)


def test_other_pins_are_another_environment(machine: Machine) -> None:
    first, second = machine.run("R1"), machine.run("R2", pins="second==1.0", probe="second")
    assert machine.build(first)[0] == machine.build(second)[0] == 0

    assert environment_of(first)["path"] != environment_of(second)["path"]


def test_an_environment_that_cannot_be_imported_is_not_ready(machine: Machine) -> None:
    make_wheel(machine.wheels, "broken", "raise ImportError('no CUDA here')")
    run = machine.run("R1", pins="broken==1.0", probe="broken")
    code, said = machine.build(run)

    assert code == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith("finetui: could not import broken") and "no CUDA here" in last
    assert not (run / "environment.json").exists()
    assert not list((machine.tmp_path / "state" / "environments").glob("*/READY.json"))


def test_without_network_one_sentence_says_what_to_do(machine: Machine) -> None:
    for name in ("UV_NO_INDEX", "PIP_NO_INDEX", "UV_FIND_LINKS", "PIP_FIND_LINKS"):
        machine.environ.pop(name)
    machine.environ.update(UV_DEFAULT_INDEX=UNREACHABLE, UV_INDEX_URL=UNREACHABLE, UV_HTTP_RETRIES="0")
    machine.environ.update(PIP_INDEX_URL=UNREACHABLE, PIP_RETRIES="1")
    run = machine.run("R1")
    code, said = machine.build(run)

    assert code == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith(
        "finetui: could not install the pinned packages: the package index can't be reached"
    )
    assert "resume the run" in last and "Traceback" not in said
    assert not (run / "environment.json").exists()


def test_interrupted_and_started_again_it_is_built(machine: Machine) -> None:
    slow = (
        "import os, time\nopen(os.environ['MARK'], 'w').close()\nwhile os.environ.get('SLOW'): time.sleep(9)"
    )
    make_wheel(machine.wheels, "slow", slow)
    mark = machine.tmp_path / "mark"
    machine.environ.update(MARK=str(mark), SLOW="1")
    run = machine.run("R1", pins="slow==1.0", probe="slow")
    process = machine.start(run)
    eventually(mark.exists)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    assert process.returncode != 0 and "Traceback" not in said
    assert not (run / "environment.json").exists()

    machine.environ.pop("SLOW")
    assert machine.build(run)[0] == 0
    assert Path(environment_of(run)["python"]).exists()


def test_a_second_run_waits_for_the_first(machine: Machine) -> None:
    go = machine.tmp_path / "go"
    slow = "import os, time\nwhile not os.path.exists(os.environ['GO']): time.sleep(0.05)"
    make_wheel(machine.wheels, "slow", slow)
    machine.environ["GO"] = str(go)
    first = machine.run("R1", pins="slow==1.0", probe="slow")
    second = machine.run("R2", pins="slow==1.0", probe="slow")
    one = machine.start(first)
    eventually(lambda: list((machine.tmp_path / "run").glob("environment-*.lock")))
    two = machine.start(second)
    eventually(lambda: "which run R1 is building" in _text(second / "phase.json"))
    go.touch()

    assert "waiting for the environment tiny" in two.communicate(timeout=60)[0]
    one.communicate(timeout=60)
    assert (one.returncode, two.returncode) == (0, 0)
    assert environment_of(first) == environment_of(second)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_too_small_a_disk_is_said_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)
    run = machine.run("R1")
    monkeypatch.setattr(environments, "NEEDED_BYTES", 10**18)
    for name in ("FINETUI_STATE_DIR", "FINETUI_RUNTIME_DIR"):
        monkeypatch.setenv(name, machine.environ[name])
    monkeypatch.delenv("FINETUI_ENVIRONMENTS_DIR", raising=False)

    assert environments.main(["--run", str(run)]) == 1
    assert "GB free; free some space" in capfd.readouterr().err
    assert list((tmp_path / "state" / "environments").iterdir()) == []


def test_progress_is_read_from_what_uv_says() -> None:
    progress = InstallProgress()
    for line in (
        "Resolved 9 packages in 151ms",
        "Downloading torch (506.0MiB)",
        "Downloading numpy (16.5MiB)",
    ):
        progress.feed(line)
    assert progress.detail() == "downloading torch and 1 more"
    assert (progress.done_bytes, progress.total_bytes) == (0, int(522.5 * 2**20))

    progress.feed(" Downloaded numpy")
    assert progress.detail(3_000_000) == "downloading torch, 3 MB unpacked so far"
    assert progress.done_bytes == int(16.5 * 2**20)

    progress.feed(" Downloaded torch")
    progress.feed("Prepared 9 packages in 30s")
    assert progress.detail() == "copying files into the environment"
