"""The parameters of a chat, as fields that are checked as they are left."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Label, Static

from presets.errors import FinetuiError
from tui.screens.conversation import Settings

FIELDS = {"temperature": "Temperature (0: greedy)", "top_p": "Top-p", "max_tokens": "Most tokens in a reply"}


class SidePanel(Vertical):
    """Shows and changes a chat's parameters and system prompt."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(id="side")
        self._settings = settings

    def compose(self) -> ComposeResult:
        """Lay out one field a parameter."""
        for name, label in FIELDS.items():
            yield Label(label)
            yield Input(str(getattr(self._settings.parameters, name)), id=f"set-{name}", compact=True)
        yield Label("System prompt")
        yield Input(self._settings.system, id="set-system", compact=True)
        yield Static(id="side-problem")

    def show(self) -> None:
        """Show the values as they are now."""
        for name in FIELDS:
            self.query_one(f"#set-{name}", Input).value = str(getattr(self._settings.parameters, name))
        self.query_one("#set-system", Input).value = self._settings.system

    def on_input_changed(self, event: Input.Changed) -> None:
        """Take a value as soon as it is right; say beside it why it is not."""
        event.stop()
        name = (event.input.id or "").removeprefix("set-")
        problem = ""
        if name == "system":
            self._settings.system = event.value
        else:
            try:
                self._settings.parameters = self._settings.parameters.with_value(name, event.value)
            except FinetuiError as error:
                problem = error.message
        self.query_one("#side-problem", Static).update(Content.styled(problem, "$error"))
