"""An error in full: what, why, what to do, and a key that copies it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from presets.errors import FinetuiError
from tui.screens.wording import safe


def describe(error: BaseException) -> str:
    """Return an error as text: message, cause and remedy, or the exception's own words."""
    if isinstance(error, FinetuiError):
        parts = [error.message]
        if error.cause:
            parts.append(f"Why: {error.cause}")
        if error.remedy:
            parts.append(f"What to do: {error.remedy}")
        return safe("\n\n".join(parts))
    return safe(f"{type(error).__name__}: {error}")


class ProblemScreen(ModalScreen[None]):
    """Shows one problem until it is closed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close"),
        Binding("y,c", "copy", "Copy details"),
    ]

    def __init__(self, title: str, body: str) -> None:
        super().__init__()
        self._title = title
        self._body = body

    def compose(self) -> ComposeResult:
        """Lay out title, text and buttons."""
        with Vertical(classes="dialog problem"):
            yield Static(Content(self._title), classes="dialog-title")
            with VerticalScroll(classes="dialog-body"):
                yield Static(Content(self._body))
            with Horizontal(classes="dialog-buttons"):
                yield Button("Close (esc)", id="close", compact=True)
                yield Button("Copy details (y)", id="copy", compact=True)

    def on_mount(self) -> None:
        """Focus the close button, so that Enter closes."""
        self.query_one("#close", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Close, or copy and stay."""
        if event.button.id == "copy":
            self.action_copy()
        else:
            self.action_close()

    def action_close(self) -> None:
        """Close the dialog."""
        self.dismiss(None)

    def action_copy(self) -> None:
        """Copy title and text through the terminal (OSC 52)."""
        self.app.copy_to_clipboard(f"{self._title}\n\n{self._body}")
        self.notify("Copied")
