"""The bottom line: the screen's main keys, clickable, from the action table."""

from __future__ import annotations

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from tui.actions import ACTIONS, actions_for, key_label


class KeyBar(Widget):
    """One line of keys; what doesn't fit is left out from the end, but never Help and Quit."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "KeyBar { height: 1; background: $panel; color: $foreground; }"

    def __init__(self, place: str, keymap: dict[str, str]) -> None:
        super().__init__(id="keybar")
        everywhere = [action for action in ACTIONS if action.place == "app" and action.shown]
        self._actions = [action for action in actions_for(place) if action.shown] + everywhere
        self._keymap = keymap
        self._typing = place in ("launch", "chat")

    def render(self) -> Content:
        """Draw as many keys as fit."""
        width = self.size.width
        items = [self._item(index) for index in range(len(self._actions))]
        while len(items) > 2 and sum(item.cell_length for item in items) > width:
            del items[-3 if len(items) > 2 else -1]
        return Content.assemble(*items)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Fill the line."""
        return container.width

    def _item(self, index: int) -> Content:
        action = self._actions[index]
        keys = key_label(self._keymap.get(action.id, action.keys)).split(" ")
        # Where text is typed, letters are no keys.
        key = next((key for key in keys if len(key) > 1), keys[0]) if self._typing else keys[0]
        where = "app" if action.place == "app" else "screen"
        return Content.from_markup(
            f"[@click={where}.{action.method}] [b $footer-key-foreground]$key[/] $label [/]",
            key=key,
            label=action.label,
        )
