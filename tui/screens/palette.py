"""The command palette's entries: the action table, as far as it applies to the screen on top."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from tui.actions import Action, actions_for, key_label
from tui.screens.base import PlaceScreen


class ActionsProvider(Provider):
    """Finds actions by the words of their label and help."""

    def _actions(self) -> list[Action]:
        screen = self.screen
        places = [screen.place, "app"] if isinstance(screen, PlaceScreen) else ["app"]
        return [action for place in places for action in actions_for(place) if action.palette]

    async def _run(self, action: Action) -> None:
        namespace = self.app if action.place == "app" else self.screen
        await namespace.run_action(action.method)

    async def discover(self) -> Hits:
        """Offer every action that applies here."""
        for action in self._actions():
            yield DiscoveryHit(_title(action), partial(self._run, action), help=action.help)

    async def search(self, query: str) -> Hits:
        """Offer the actions whose words match."""
        matcher = self.matcher(query)
        for action in self._actions():
            score = matcher.match(f"{action.label} {action.help}")
            if score > 0:
                yield Hit(
                    score, matcher.highlight(_title(action)), partial(self._run, action), help=action.help
                )


def _title(action: Action) -> str:
    return f"{action.label}  ({key_label(action.keys)})"
