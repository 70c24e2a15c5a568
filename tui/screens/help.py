"""The help overlay: every action of the screen below it, from the action table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.actions import PLACES, Action, actions_for, key_label

#: A heading with its (keys, help) rows.
HeadedKeys = tuple[str, list[tuple[str, str]]]


class HelpScreen(ModalScreen[None]):
    """Lists keys and what they do; the screen's own first, then those that work everywhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,question_mark,q,enter", "close", "Close"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(
        self, place: str, keymap: Mapping[str, str], extra: list[tuple[str, list[tuple[str, str]]]]
    ) -> None:
        """``extra`` are headed lists of (keys, help) of the widgets on the screen."""
        super().__init__()
        self._place = place
        self._keymap = keymap
        self._extra = extra

    def compose(self) -> ComposeResult:
        """Lay out one headed list a place."""
        sections = [
            (PLACES[place], [self._row(action) for action in actions_for(place)])
            for place in dict.fromkeys((self._place, "app"))
            if place in PLACES
        ]
        sections[1:1] = self._extra
        with Vertical(classes="dialog help"):
            yield Static("Keys   (esc closes)", classes="dialog-title")
            with VerticalScroll(classes="dialog-body"):
                for title, rows in sections:
                    yield Static(Content.styled(title, "bold"), classes="help-title")
                    width = max((len(keys) for keys, _ in rows), default=0)
                    for keys, text in rows:
                        yield Static(
                            Content.assemble((f"{keys:>{width}}", "$accent"), "  ", text), classes="help-row"
                        )

    def _row(self, action: Action) -> tuple[str, str]:
        return key_label(self._keymap.get(action.id, action.keys)), action.help

    def action_close(self) -> None:
        """Close the overlay."""
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
