"""Questions of a connecting thread, put to the user as dialogs."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui.messages import QuestionAsked

if TYPE_CHECKING:
    from tui.remote.ssh_ask import Ask, HostKeyQuestion

#: A question that nobody answers is taken as a no, so that the thread ends (s).
PATIENCE_S = 600.0


def asker(post: Callable[[Any], object]) -> Ask:
    """Return the callbacks for ``targets.connect``; they block their thread until the user has answered."""
    from tui.remote.ssh_ask import Ask

    def put(title: str, text: str, secret: bool) -> Any:
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        post(QuestionAsked(title, text, secret, answers.put))
        try:
            return answers.get(timeout=PATIENCE_S)
        except queue.Empty:
            return None

    def host_key(question: HostKeyQuestion) -> bool:
        text = (
            f"Nobody has vouched for its host key yet:\n\n  {question.key_type}\n  {question.fingerprint}\n\n"
            "Compare it with the one that the machine or its provider shows. "
            f"A yes is kept in {question.file}."
        )
        return put(f"Trust {question.host}?", text, secret=False) is True

    def passphrase(path: Path) -> str | None:
        return put("", f"Passphrase of {path} (empty skips this key)", secret=True) or None

    return Ask(host_key=host_key, passphrase=passphrase)
