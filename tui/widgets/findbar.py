"""The line at the bottom of a log: its status, and where a pattern is typed."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label

HINTS = {
    "find": "/ regular expression, empty clears",
    "filter": "& regular expression, empty clears",
    "jump": ": step 120, a time (14:05) or a line",
}


class FindBar(Horizontal):
    """One line: a status text, or an input for find, filter and jump."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape", "close", "Close", id="findbar.close", tooltip="Leave the pattern as it was", show=False
        )
    ]
    DEFAULT_CSS = """
    FindBar { height: 1; }
    FindBar > Label { width: 1fr; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    FindBar > Label.-error { color: $text-error; }
    FindBar > Input { width: 2fr; display: none; }
    FindBar.-asking > Input { display: block; }
    """

    class Submitted(Message):
        """A text was typed for ``purpose`` (find, filter or jump); empty clears a pattern."""

        def __init__(self, purpose: str, pattern: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.pattern = pattern

    class Typed(Message):
        """The text for ``purpose`` changed and is not submitted yet."""

        def __init__(self, purpose: str, pattern: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.pattern = pattern

    class Closed(Message):
        """The input was left; the focus should go back to the log."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._purpose = "find"
        self._label = Label("", markup=False)
        self._input = Input(compact=True)
        self._last = dict.fromkeys(HINTS, "")

    def compose(self) -> ComposeResult:
        """Input left, status right."""
        yield self._input
        yield self._label

    def ask(self, purpose: str) -> None:
        """Open the input with the last pattern selected."""
        self._purpose = purpose
        self._input.placeholder = HINTS[purpose]
        self._input.value = self._last[purpose]
        self.add_class("-asking")
        self._input.focus()
        self._input.action_select_all()

    def say(self, text: str, *, error: bool = False) -> None:
        """Show the status, or why a pattern was refused."""
        self._label.set_class(error, "-error")
        # Its place is fixed; a layout would repaint the whole screen at every tick.
        self._label.update(text, layout=False)

    def action_close(self) -> None:
        """Leave the pattern as it was."""
        self.remove_class("-asking")
        self.post_message(self.Closed())

    def on_input_changed(self, event: Input.Changed) -> None:
        """Let the log mark what would be found."""
        event.stop()
        if self.has_class("-asking"):
            self.post_message(self.Typed(self._purpose, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand the pattern on."""
        event.stop()
        self._last[self._purpose] = event.value
        self.remove_class("-asking")
        self.post_message(self.Submitted(self._purpose, event.value))
        self.post_message(self.Closed())
