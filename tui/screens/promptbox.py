"""Where a prompt is typed: Enter sends, ctrl+j breaks the line, a big paste is kept aside."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.widgets import TextArea

#: A longer paste is shown as a placeholder: laying out megabytes would block the event loop.
PASTE_LIMIT = 4000


_KEYS = {
    "enter": "submit",
    "ctrl+j": "newline",
    "shift+enter": "newline",
    "alt+enter": "newline",
}


class PromptBox(TextArea):
    """A small text area that grows to six lines."""

    class Submitted(Message):
        """A prompt was sent."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(id="prompt", compact=True, soft_wrap=True, show_line_numbers=False,
                         placeholder="Ask, or / for commands")  # fmt: skip
        self._pastes: dict[str, str] = {}

    def put(self, text: str) -> None:
        """Replace what is typed."""
        self.text = ""
        self._insert(text)
        self.move_cursor(self.document.end)

    def action_submit(self) -> None:
        """Send the prompt with its pastes in full."""
        text = self.text
        for label, pasted in self._pastes.items():
            text = text.replace(label, pasted)
        if not text.strip():
            return
        self.text = ""
        self._pastes.clear()
        self.post_message(self.Submitted(text.strip("\n")))

    def action_newline(self) -> None:
        """Break the line."""
        self.insert("\n")

    async def _on_key(self, event: events.Key) -> None:
        """Send on Enter; not a priority binding, which would overtake the characters typed just before."""
        if event.key in _KEYS:
            event.prevent_default()
            event.stop()
            await self.run_action(_KEYS[event.key])
        else:
            await super()._on_key(event)

    async def _on_paste(self, event: events.Paste) -> None:
        """Keep a big paste aside under a label."""
        event.prevent_default()
        event.stop()
        self._insert(event.text)

    def _insert(self, text: str) -> None:
        if len(text) <= PASTE_LIMIT:
            self.insert(text)
            return
        lines = text.count("\n") + 1
        label = f"[paste {len(self._pastes) + 1}: {len(text):,} characters, {lines:,} lines]"
        self._pastes[label] = text
        self.insert(label)
