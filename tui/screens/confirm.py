"""A question before something is destroyed; it says what."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static


class ConfirmScreen(ModalScreen[bool]):
    """Asks; ``y`` or the button does it, ``n`` or escape doesn't. The safe answer has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
        Binding("left,right,h,l", "app.focus_next", "Other", show=False),
    ]

    def __init__(self, title: str, body: str, verb: str, other: str = "Keep") -> None:
        super().__init__()
        self._other = other
        self._title = title
        self._body = body
        self._verb = verb

    def compose(self) -> ComposeResult:
        """Lay out title, consequences and the two answers."""
        with Vertical(classes="dialog"):
            yield Static(Content(self._title), classes="dialog-title")
            with VerticalScroll(classes="dialog-body", can_focus=False):
                yield Static(Content(self._body))
            with Horizontal(classes="dialog-buttons"):
                yield Button(f"{self._other} (n)", id="no", compact=True)
                yield Button(f"{self._verb} (y)", id="yes", variant="error", compact=True)

    def on_mount(self) -> None:
        """Put the focus on the answer that changes nothing."""
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take a click or Enter on a button as the answer."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """Take a key as the answer."""
        self.dismiss(yes)
