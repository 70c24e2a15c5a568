"""Builds of the agent side by side: which may take over from which, and how to start an older one again."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import remote_agent
from remote_agent import program
from remote_agent.documents import read_json, write_json
from remote_agent.identity import Proc
from remote_agent.places import Places

#: A build that could not start is not tried again for this long: each try costs its clients ten seconds.
RETRY_AFTER_S = 600.0


@dataclass(frozen=True)
class Build:
    """One build: ``name`` is that of its folder, ``VERSION-SHA12``, or ``source``."""

    name: str
    version: str

    @classmethod
    def own(cls) -> Build:
        """Return the build that this process runs."""
        return cls(program.build(), remote_agent.VERSION)

    @classmethod
    def named(cls, name: str, version: str = "") -> Build:
        """Return a build by its name; the version is in the name when it is not given."""
        return cls(name, version or name.rpartition("-")[0])

    def supersedes(self, running: Build) -> bool:
        """Say whether this build, a client's, should take over from the one that runs.

        A newer version does, an older one never; of one version the client's own, as it is the one in use.
        """
        if self.name == running.name:
            return False
        return _numbers(self.version) >= _numbers(running.version)

    def is_newer_than(self, running: Build) -> bool:
        """Say whether the version is higher."""
        return _numbers(self.version) > _numbers(running.version)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version)[:3])


def folder(places: Places, name: str) -> Path:
    """Return where a build is kept."""
    return places.state / "agent" / name


def command(places: Places, name: str) -> list[str] | None:
    """Return the argv, without the role, of a build that is still on the disk."""
    archive = folder(places, name) / "agent.pyz"
    if not archive.is_file():
        return None
    try:
        python = (archive.parent / "python").read_text().strip()
    except OSError:
        python = ""
    return [python if Path(python).is_file() else sys.executable, "-I", str(archive)]


def note_failure(places: Places, build: Build, reason: str) -> None:
    """Remember that a build could not take over, and why."""
    document = {
        "at_boottime_s": time.clock_gettime(time.CLOCK_BOOTTIME),
        "boot": Proc().boot(),
        "reason": reason,
    }
    write_json(_mark(places, build), document)


def failed_lately(places: Places, build: Build) -> str:
    """Return why a build could not take over a short while ago, "" when it may be tried."""
    known = read_json(_mark(places, build)) or {}
    at = known.get("at_boottime_s")
    if known.get("boot") != Proc().boot() or not isinstance(at, int | float):
        return ""
    recent = time.clock_gettime(time.CLOCK_BOOTTIME) - at < RETRY_AFTER_S
    return str(known.get("reason") or "it did not start") if recent else ""


def failures(places: Places) -> list[str]:
    """Return one sentence for each build that failed to take over a short while ago."""
    prefix, suffix = f"{places.key}.", ".failed"
    names = [path.name[len(prefix) : -len(suffix)] for path in places.runtime.glob(f"{prefix}*{suffix}")]
    reasons = [(name, failed_lately(places, Build.named(name))) for name in sorted(names)]
    return [f"the build {name} could not take over: {reason}" for name, reason in reasons if reason]


def _mark(places: Places, build: Build) -> Path:
    return places.runtime / f"{places.key}.{build.name}.failed"
