"""The command palette offers what applies now, from the action registry, and the themes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from agentrm_tui.ui.actions import actions_behind, applicable


class Offered(NamedTuple):
    """One line of the palette."""

    name: str
    help: str
    run: IgnoreReturnCallbackType


class ActionCommands(Provider):
    """What applies now on the screen behind the palette, and themes everywhere."""

    def _offered(self) -> Iterator[Offered]:
        screen = self.screen
        keys = actions_behind(screen.BINDINGS)
        if keys is not None:
            for action in applicable(keys, getattr(screen, "facts", None)):
                name = f"{action.description.rstrip('.')}  ({action.key_label})"
                yield Offered(name, action.group, partial(screen.run_action, action.id))
        yield Offered("Change the theme", "Colours of the whole program", self.app.search_themes)

    async def discover(self) -> Hits:
        """Everything, before something is typed."""
        for item in self._offered():
            yield DiscoveryHit(item.name, item.run, help=item.help)

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for item in self._offered():
            score = matcher.match(item.name)
            if score > 0:
                yield Hit(score, matcher.highlight(item.name), item.run, help=item.help)
