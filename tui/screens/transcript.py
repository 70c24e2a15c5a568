"""The turns of a chat; control characters in them are shown, never interpreted."""

from __future__ import annotations

from collections.abc import Sequence

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.screens.conversation import Turn
from tui.screens.wording import safe

#: A longer turn is drawn by its start and end; it is sent and kept whole.
MAX_DRAWN = 20_000

WELCOME = (
    "Ask the model something. Enter sends, ctrl+j starts a new line, esc stops a reply, /help lists commands."
)


class Transcript(VerticalScroll, can_focus=True):
    """Scrolls with the reply until the user scrolls up."""

    def __init__(self) -> None:
        super().__init__()
        self._reply: Static | None = None
        self._text = ""

    def on_mount(self) -> None:
        """Stay at the end while the reply grows."""
        self.anchor()
        self.show([])

    def show(self, turns: Sequence[Turn]) -> None:
        """Show these turns and nothing else."""
        self._reply = None
        self.remove_children()
        if not turns:
            self.note(WELCOME, "text-muted")
        for turn in turns:
            self.add(turn)

    def add(self, turn: Turn) -> None:
        """Add a whole turn."""
        self.query(".welcome").remove()
        self.mount(Static(Content(_drawn(turn.text)), classes=f"turn {turn.role}"))
        if turn.note:
            self._mount_note(turn.note)
        self.anchor()

    def begin_reply(self) -> None:
        """Make room for a reply that will stream in."""
        self._text = ""
        self._reply = Static(Content("…"), classes="turn assistant")
        self.mount(self._reply)
        self.anchor()

    def extend_reply(self, text: str) -> None:
        """Draw more of the reply."""
        self._text += text
        if self._reply is not None:
            self._reply.update(Content(_drawn(self._text)))

    def end_reply(self, note: str) -> str:
        """Close the reply as far as it came and return its text; ``note`` goes under it."""
        text = self._text
        if self._reply is not None:
            self._reply.update(Content(_drawn(text) or "(an empty reply)"))
        self._reply = None
        if note:
            self._mount_note(note)
        return text

    def _mount_note(self, note: str) -> None:
        self.mount(Static(Content(note), classes="note"))

    def note(self, text: str, colour: str) -> None:
        """Say something that is not part of the conversation."""
        classes = "note welcome" if text is WELCOME else "note"
        self.mount(Static(Content.styled(safe(text), f"${colour}"), classes=classes))


def _drawn(text: str) -> str:
    if len(text) > MAX_DRAWN:
        half = MAX_DRAWN // 2
        text = f"{text[:half]}\n[... {len(text) - MAX_DRAWN:,} characters not drawn ...]\n{text[-half:]}"
    return safe(text)
