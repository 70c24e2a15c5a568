"""One line of text asked at the bottom of the screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static


class PromptScreen(ModalScreen[str | None]):
    """Enter takes the text, escape leaves everything as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel")]

    def __init__(self, question: str, value: str = "", *, secret: bool = False) -> None:
        super().__init__()
        self._secret = secret
        self._question = question
        self._value = value

    def compose(self) -> ComposeResult:
        """Lay out the question and the field in one line."""
        with Horizontal(classes="prompt"):
            yield Static(Content(f"{self._question}: "), classes="prompt-question")
            yield Input(self._value, password=self._secret, compact=True)

    def on_mount(self) -> None:
        """Start typing at once."""
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the text."""
        event.stop()
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Take nothing."""
        self.dismiss(None)
