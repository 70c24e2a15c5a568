"""One line on the connections: live, connecting, or lost with its age and the next try."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from textual.content import Content
from textual.widget import Widget

from tui.screens.wording import duration, one_line
from tui.state.connection import ConnectionChanged
from tui.widgets.seen import seen


def link_text(link: ConnectionChanged, now: float) -> tuple[str, str]:
    """Return what to say of a connection and the theme variable that colours it."""
    age = duration(now - link.since)
    if link.state == "live":
        return link.target, "success"
    if link.state == "connecting":
        return f"{link.target}: connecting for {age}", "accent"
    text = f"{link.target}: connection lost {age} ago"
    if link.next_try_s is not None:
        left = link.since + link.next_try_s - now
        text += f", next try in {duration(left)}" if left >= 0.5 else ", trying again"
    if link.reason:
        text += f" ({one_line(link.reason)})"
    return text, "error"


class StatusBar(Widget):
    """Shows the connections that matter to a screen; asks for them once a second."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    StatusBar { height: 1; color: $text-muted; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(
        self,
        links: Callable[[], Iterable[ConnectionChanged]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(id="statusbar")
        self._links = links
        self._clock = clock
        self._shown = ""

    def on_mount(self) -> None:
        """Start counting seconds."""
        self.set_interval(1.0, self.tick)

    def tick(self) -> None:
        """Draw again where a word changed; a live connection costs nothing."""
        if seen(self.screen) and self._text().plain != self._shown:
            self.refresh()

    def render(self) -> Content:
        """Draw the line; what is wrong comes first."""
        text = self._text()
        self._shown = text.plain
        return text

    def _text(self) -> Content:
        now = self._clock()
        parts = []
        for link in sorted(self._links(), key=lambda link: (link.state == "live", link.target)):
            text, colour = link_text(link, now)
            parts.append(Content.assemble(("● " if link.state == "live" else "○ ", f"${colour}"), text))
        return Content("   ").join(parts)
