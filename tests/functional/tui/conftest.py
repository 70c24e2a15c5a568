"""A scripted agent for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.agent import ScriptedAgent


@pytest.fixture
def agent() -> Iterator[ScriptedAgent]:
    scripted = ScriptedAgent()
    yield scripted
    scripted.close()
