"""What every screen has: its keys, the bottom lines, work in the background, the way to other screens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.dom import DOMNode
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from tui.actions import PLACES, actions_for, key_label
from tui.messages import Failed, Finished
from tui.screens.background import start_background
from tui.screens.board import Board
from tui.screens.keybar import KeyBar
from tui.screens.statusbar import StatusBar
from tui.state.connection import ConnectionChanged

if TYPE_CHECKING:
    from tui.screens.backend import Backend

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """What the screens share: knowledge, operations, the user's keys, a monotonic clock."""

    board: Board
    backend: Backend
    keymap: dict[str, str]
    clock: Callable[[], float]
    ascii: bool = False


def bindings_of(place: str) -> list[BindingType]:
    """Return the Textual bindings of one place of the action table."""
    return [
        Binding(
            action.keys,
            action.method,
            action.label,
            show=action.shown,
            priority=action.priority,
            tooltip=action.help,
            id=action.id,
        )
        for action in actions_for(place)
    ]


def keys_of(widget: type[DOMNode]) -> list[tuple[str, str]]:
    """Return (keys, help) of a widget's own bindings, for the help overlay."""
    found = [binding for binding in widget.BINDINGS if isinstance(binding, Binding)]
    return [(key_label(binding.key), binding.tooltip or binding.description) for binding in found]


class PlaceScreen(Screen[None]):
    """A screen of the action table; subclasses set ``place`` and define ``body``."""

    place: ClassVar[str] = ""
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-tiny"), (40, "-narrow"), (110, "-wide"), (150, "-broad"), (180, "-huge")]  # fmt: skip
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-flat"),
        (9, "-short"),
        (30, "-tall"),
    ]

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self._laid_out = False

    def compose(self) -> ComposeResult:
        """Lay out title line, body, connections and keys."""
        yield Static(self.heading(), id="heading")
        yield from self.body()
        yield StatusBar(self.links, self.context.clock)
        yield KeyBar(self.place, self.context.keymap)
        yield Static("finetui needs 40x9 characters; enlarge the window. q quits.", id="too-small")

    def body(self) -> Iterable[Any]:
        """Yield the widgets between the title line and the bottom lines."""
        return ()

    def heading(self) -> Content:
        """Return the title line."""
        return Content.assemble(("finetui", "bold $primary"), f"  {PLACES[self.place]}")

    def links(self) -> Iterable[ConnectionChanged]:
        """Return the connections that matter here: all of them, unless a screen knows better."""
        return self.context.board.links.values()

    @property
    def laid_out(self) -> bool:
        """True once the screen's widgets are there; events may come between pushing it and that."""
        # Asked at every event, 100 times a second: a query each time took a fifth of the loop's CPU.
        self._laid_out = self._laid_out or bool(self.query("#too-small"))
        return self._laid_out

    def runs_changed(self) -> None:
        """The board's runs or connections changed, and this screen is on top."""

    def take(self, message: Message) -> None:
        """An event that may concern this screen: a sample, log bytes, metric records."""

    def widget_help(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return the headed keys of this screen's widgets, for the help overlay."""
        return []

    def refresh_status(self) -> None:
        """Draw the connection line now instead of at its next tick."""
        for bar in self.query(StatusBar):
            bar.tick()

    def in_background(
        self,
        what: str,
        work: Callable[[], T],
        then: Callable[[T], None],
        instead: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Run blocking ``work`` in a thread; ``then`` gets its result on the event loop.

        A FinetuiError goes to ``instead``, a dialog by default.
        """
        start_background(self, what, work, then, instead)

    def on_finished(self, message: Finished) -> None:
        """Hand a result to whoever asked for it."""
        message.stop()
        if self.is_attached:
            message.then(message.result)

    def on_failed(self, message: Failed) -> None:
        """Show a failure in its own place; without one it bubbles to the app's dialog."""
        if message.instead is not None:
            message.stop()
            message.instead(message.error)

    def action_back(self) -> None:
        """Return to the screen below."""
        self.app.pop_screen()
