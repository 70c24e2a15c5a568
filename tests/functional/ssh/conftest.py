"""A laptop and its pod."""

from __future__ import annotations

from tests.fakes.pod import closing, laptop, machine, places, sshd

__all__ = ["closing", "laptop", "machine", "places", "sshd"]
