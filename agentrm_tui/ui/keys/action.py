"""An action as data, and all actions of one screen: bindings, palette, help and docs are made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

KEY_NAMES = {
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "comma": ",",
    "full_stop": ".",
    "escape": "esc",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "shift+left": "⇧←",
    "shift+right": "⇧→",
}


def always(facts: object) -> bool:
    """For actions that apply at any time."""
    return True


class Action(NamedTuple):
    """Something a person can do on a screen.

    Attributes:
        id: Name of the screen's `action_…` method, with arguments where it takes some; `app.…` for the app's own.
        key: Textual's name of the key.
        label: Two words at most, for the footer.
        description: One sentence for help, palette and docs.
        applies: Whether it can be done now, by the facts of its screen.
        footer: Whether the footer offers it.
        group: Heading in the help; one of the screen's groups.
        first: Whether the key means this even where the focused widget has a use of its own for it.
        by_name: Whether the palette offers it too; moving the focus only makes sense by key.
    """

    id: str
    key: str
    label: str
    description: str
    applies: Callable[[Any], bool] = always
    footer: bool = False
    group: str = "Run"
    first: bool = False
    by_name: bool = True

    @property
    def key_label(self) -> str:
        """The key as people read it."""
        return KEY_NAMES.get(self.key, self.key)


class PaneHelp(NamedTuple):
    """What the help says about a pane: its title, what it shows, and what its signs mean."""

    title: str
    text: str
    signs: tuple[tuple[str, str], ...] = ()


class ScreenActions(NamedTuple):
    """All that a screen's keys need.

    Attributes:
        screen: Name of the screen in the registry.
        title: The screen as documents call it.
        groups: Headings of the help, in order.
        panes: Help for the screen's panes, by the id of the pane.
    """

    screen: str
    title: str
    groups: tuple[str, ...]
    actions: tuple[Action, ...]
    panes: Mapping[str, PaneHelp] = {}
