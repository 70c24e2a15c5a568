"""What connecting has to ask: host keys and passphrases."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tests.fakes.agent import ScriptedAgent
from tests.fakes.app_driver import Driver, drive
from tui.remote.ssh_ask import HostKeyQuestion
from tui.screens.asking import asker

QUESTION = HostKeyQuestion("gpu.example", "ssh-ed25519", "SHA256:abcdef", Path("/k/known_hosts"))


def ask_in_thread(user: Driver, what: str, *arguments: Any) -> list[Any]:
    """Ask as a connecting thread does; the list gets the answer."""
    answers: list[Any] = []
    callback = getattr(asker(user.app.post_message), what)
    threading.Thread(target=lambda: answers.append(callback(*arguments)), daemon=True).start()
    return answers


def test_a_host_key_is_trusted_only_by_a_yes(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await user.sees("No runs yet")
        refused = ask_in_thread(user, "host_key", QUESTION)
        await user.sees("Trust gpu.example?", "SHA256:abcdef", "/k/known_hosts")
        await user.press("enter")
        await user.until(lambda: refused == [False])
        trusted = ask_in_thread(user, "host_key", QUESTION)
        await user.sees("Trust gpu.example?")
        await user.press("y")
        await user.until(lambda: trusted == [True])

    drive(agent, scenario, size=(80, 24))


def test_a_passphrase_is_not_shown(agent: ScriptedAgent) -> None:
    async def scenario(user: Driver) -> None:
        await user.sees("No runs yet")
        answers = ask_in_thread(user, "passphrase", Path("/k/id_ed25519"))
        await user.sees("Passphrase of /k/id_ed25519")
        await user.press(*"sesame")
        await user.pilot.pause()
        assert "sesame" not in user.text()
        await user.press("enter")
        await user.until(lambda: answers == ["sesame"])
        skipped = ask_in_thread(user, "passphrase", Path("/k/id_ed25519"))
        await user.sees("Passphrase of")
        await user.press("escape")
        await user.until(lambda: skipped == [None])

    drive(agent, scenario, size=(80, 24))
