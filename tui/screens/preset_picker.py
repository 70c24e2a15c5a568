"""The presets to choose from: type to filter, arrows to choose, Enter to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from tui.screens.presets_list import PresetCard, first_sentence


class FilterInput(Input):
    """A line whose up and down keys move the list below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "screen_list('cursor_down')", "Down", show=False),
        Binding("up", "screen_list('cursor_up')", "Up", show=False),
        Binding("pagedown", "screen_list('page_down')", "Page down", show=False),
        Binding("pageup", "screen_list('page_up')", "Page up", show=False),
    ]

    async def action_screen_list(self, action: str) -> None:
        """Move the list's cursor while the focus stays here."""
        assert self.parent is not None
        await self.parent.query_one(OptionList).run_action(action)


class PresetPicker(Vertical):
    """Posts which preset is under the cursor, and when it is taken."""

    class Highlighted(Message):
        """Another preset is under the cursor."""

        def __init__(self, card: PresetCard) -> None:
            super().__init__()
            self.card = card

    class Taken(Message):
        """Enter was pressed: go on with the preset under the cursor."""

    def __init__(self) -> None:
        super().__init__()
        self._cards: dict[str, PresetCard] = {}

    def compose(self) -> ComposeResult:
        """Yield the filter above the list."""
        yield FilterInput(placeholder="type to filter", id="preset-filter", compact=True)
        yield OptionList(id="presets")

    def show(self, cards: Sequence[PresetCard], wanted: str) -> None:
        """Show these presets with the cursor on ``wanted``."""
        self._cards = {card.name: card for card in cards}
        self.query_one(FilterInput).value = ""
        self._list(wanted)

    def _list(self, wanted: str) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        words = self.query_one(FilterInput).value.lower().split()
        names = [name for name, card in self._cards.items() if _matches(card, words)]
        options.add_options([Option(_entry(self._cards[name]), id=name) for name in names])
        if names:
            options.highlighted = names.index(wanted) if wanted in names else 0

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow the list."""
        event.stop()
        if self._cards:
            self._list("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the preset under the cursor."""
        event.stop()
        self.post_message(self.Taken())

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Tell which preset is under the cursor."""
        event.stop()
        card = self._cards.get(event.option.id or "")
        if card is not None:
            self.post_message(self.Highlighted(card))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the preset that was clicked."""
        event.stop()
        self.post_message(self.Taken())


def _matches(card: PresetCard, words: Sequence[str]) -> bool:
    text = f"{card.name} {card.why} {card.needs}".lower()
    return all(word in text for word in words)


def _entry(card: PresetCard) -> Content:
    second = first_sentence(card.needs) if card.values else card.why
    return Content.assemble(
        (card.name, "bold"), (f"\n  {second}", "$text-muted" if card.values else "$error")
    )
