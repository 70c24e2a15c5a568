"""A log view with its status line and find bar, ready to be put on a screen."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from tui.errors import FinetuiError
from tui.state.spool import LogSpool
from tui.widgets.findbar import FindBar
from tui.widgets.logview import LogView


class LogPanel(Vertical):
    """Joins the two; everything else is the view's."""

    DEFAULT_CSS = "LogPanel { height: 1fr; }"

    def __init__(
        self, spool: LogSpool | None = None, *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.view = LogView(spool)
        self.bar = FindBar()

    def compose(self) -> ComposeResult:
        """The log above, its line below."""
        yield self.view
        yield self.bar

    def on_log_view_changed(self, event: LogView.Changed) -> None:
        """Say the new state."""
        event.stop()
        self.bar.say(self.view.status)

    def on_log_view_asked(self, event: LogView.Asked) -> None:
        """Let the user type."""
        event.stop()
        self.bar.ask(event.purpose)

    def on_find_bar_submitted(self, event: FindBar.Submitted) -> None:
        """Search, or say what is wrong with the pattern."""
        event.stop()
        try:
            (self.view.find if event.purpose == "find" else self.view.filter)(event.pattern)
        except FinetuiError as error:
            self.bar.say(str(error.cause or error.message), error=True)

    def on_find_bar_closed(self, event: FindBar.Closed) -> None:
        """Back to the log."""
        event.stop()
        self.view.focus()
