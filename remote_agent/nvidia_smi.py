"""Ask nvidia-smi for a table; the way that works without any Python binding."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Sequence

NVIDIA_SMI_LIMIT_S = 5.0


class GpuError(Exception):
    """No GPU can be shown; the text says why."""


def query(table: str, fields: Sequence[str]) -> str:
    """Return the CSV of ``--query-TABLE``, sizes in MiB; raises GpuError when it fails or takes too long."""
    argv = ["nvidia-smi", f"--query-{table}={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=NVIDIA_SMI_LIMIT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise GpuError(f"nvidia-smi does not answer: {error}") from error
    return done.stdout


def rows(text: str, columns: int) -> list[list[str]]:
    """Return the rows that have as many columns as were asked for; warnings between them are left out."""
    return [row for row in csv.reader(text.splitlines(), skipinitialspace=True) if len(row) == columns]


def number(cell: str) -> float | None:
    """Return a number, None for "[N/A]" and the like."""
    try:
        return float(cell)
    except ValueError:
        return None
