"""Panels in a grid; one at a time, with tabs, where the window is small or a panel is zoomed."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget


class Panel(Vertical):
    """A titled frame around one widget."""

    def __init__(self, name: str, title: str, *children: Widget, key: str = "", bare: bool = False) -> None:
        """``bare`` leaves the frame to what is inside."""
        super().__init__(*children, id=f"panel-{name}", name=name, classes="panel -bare" if bare else "panel")
        self.title = title
        self.key = key
        if not bare:
            self.border_title = f"{key} {title}" if key else title

    def focus_inside(self) -> None:
        """Focus the first thing in the panel that takes keys."""
        for child in self.query("*"):
            if child.focusable:
                child.focus()
                return


class PanelTabs(Widget):
    """The line that names the panels while only one is shown."""

    ALLOW_SELECT = False

    def __init__(self, panels: list[Panel], action: str) -> None:
        super().__init__(id="tabs")
        self._panels = panels
        self._action = action
        self.current = ""
        self.display = False

    def render(self) -> Content:
        """Draw as many whole words as fit; keys alone for the rest."""
        room = self.size.width
        panels = sorted(self._panels, key=lambda panel: panel.key)
        words = [f"{panel.key} {panel.title}" for panel in panels]
        if sum(len(word) + 2 for word in words) > room:
            words = [
                word if panel.name == self.current else panel.key
                for word, panel in zip(words, panels, strict=True)
            ]
        return Content.assemble(
            *(
                Content.from_markup(
                    f"[@click=screen.{self._action}('{panel.name}')]"
                    + ("[reverse] $word [/]" if panel.name == self.current else " $word ")
                    + "[/]",
                    word=word,
                )
                for word, panel in zip(words, panels, strict=True)
            )
        )


class PanelDeck(Container):
    """Lays panels out by the screen's style sheet, or shows the current one alone."""

    class Shown(Message):
        """Another set of panels can be seen now."""

    def __init__(self, *panels: Panel, action: str, small: tuple[int, int]) -> None:
        """``action`` of the screen focuses a panel; ``small`` is the (width, height) that a grid needs."""
        super().__init__(id="deck")
        self._panels = list(panels)
        self._tabs = PanelTabs(self._panels, action)
        self._small = small
        self._narrow = False
        self.zoomed = False
        self.current = panels[0].name or ""

    def compose(self) -> ComposeResult:
        """Yield the tabs and the panels."""
        yield self._tabs
        yield from self._panels

    def on_resize(self, event: events.Resize) -> None:
        """Show one panel where the grid would be too small."""
        size = self.screen.size
        self._narrow = size.width < self._small[0] or size.height < self._small[1]
        self._arrange()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The panel with the focus is the current one."""
        for node in event.widget.ancestors_with_self:
            if isinstance(node, Panel):
                if node.name != self.current:
                    self.current = node.name or ""
                    self._arrange()
                return

    @property
    def alone(self) -> bool:
        """True while only the current panel is shown."""
        return self._narrow or self.zoomed

    def is_shown(self, name: str) -> bool:
        """Tell whether a panel can be seen, so that hidden ones cost nothing."""
        return not self.alone or name == self.current

    def show(self, name: str) -> None:
        """Make a panel the current one and focus it."""
        self.current = name
        self._arrange()
        self.panel(name).focus_inside()

    def toggle_zoom(self) -> None:
        """Give the current panel all the room, or put the grid back."""
        self.zoomed = not self.zoomed
        self._arrange()

    def panel(self, name: str) -> Panel:
        """Return the panel of that name."""
        return next(panel for panel in self._panels if panel.name == name)

    def _arrange(self) -> None:
        self._tabs.current = self.current
        self._tabs.display = self._narrow
        self.set_class(self.alone, "-one")
        for panel in self._panels:
            panel.set_class(panel.name == self.current, "-current")
        self._tabs.refresh()
        self.post_message(self.Shown())
