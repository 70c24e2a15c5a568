"""A log view with its status line and find bar, ready to be put on a screen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Vertical

from tui.errors import FinetuiError, InvalidInput
from tui.state.logjump import StepTime, parse_place
from tui.state.spool import LogSpool
from tui.widgets.findbar import FindBar
from tui.widgets.logview import LogView


class LogPanel(Vertical):
    """Joins the two; everything else is the view's."""

    DEFAULT_CSS = "LogPanel { height: 1fr; }"

    def __init__(
        self,
        spool: LogSpool | None = None,
        *,
        when: Callable[[int], StepTime | None] = lambda step: None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """``when`` says when a step was logged, for logs whose lines don't name it."""
        super().__init__(id=id, classes=classes)
        self._when = when
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
        """Search or go there, or say what is wrong with what was typed."""
        event.stop()
        try:
            self.view.mark("")
            if event.purpose == "jump":
                self._jump(event.pattern)
            else:
                (self.view.find if event.purpose == "find" else self.view.filter)(event.pattern)
        except FinetuiError as error:
            self.bar.say(str(error.cause or error.remedy or error.message), error=True)

    def _jump(self, text: str) -> None:
        if text.strip():
            place = parse_place(text)
            self.view.jump(place, self._when(place.step) if place.step is not None else None)

    def on_find_bar_typed(self, event: FindBar.Typed) -> None:
        """Mark on the page what would be found; a pattern that is not whole yet marks nothing."""
        event.stop()
        if event.purpose != "jump":
            with contextlib.suppress(InvalidInput):
                self.view.mark(event.pattern)

    def on_find_bar_closed(self, event: FindBar.Closed) -> None:
        """Back to the log."""
        event.stop()
        self.view.mark("")
        self.view.focus()
