"""The one registry of actions, screen by screen: key bindings, command palette, help and docs are all made from it.

A screen has a file in `agentrm_tui.ui.keys` and a place in `SCREENS`; it takes its `BINDINGS` from `bindings`.
"""

from __future__ import annotations

from collections.abc import Iterable

from textual.binding import Binding, BindingType

from agentrm_tui.ui.keys.action import Action, ScreenActions
from agentrm_tui.ui.keys.episode import EPISODE
from agentrm_tui.ui.keys.launcher import LAUNCHER

SCREENS: dict[str, ScreenActions] = {keys.screen: keys for keys in (LAUNCHER, EPISODE)}


def bindings(screen: str) -> list[BindingType]:
    """The key bindings of a screen; their ids name the screen and the action."""
    return [
        Binding(
            action.key,
            action.id,
            action.label,
            show=action.footer,
            tooltip=action.description,
            key_display=None if action.key.startswith("ctrl+") else action.key_label,
            priority=action.first,
            id=f"{screen}.{action.id}",
        )
        for action in SCREENS[screen].actions
    ]


def actions_behind(bound: Iterable[BindingType]) -> ScreenActions | None:
    """The actions that a screen's `BINDINGS` were made from; None where they were made otherwise."""
    ids = (binding.id or "" for binding in bound if isinstance(binding, Binding))
    return next((SCREENS[screen] for name in ids if (screen := name.partition(".")[0]) in SCREENS), None)


def applicable(keys: ScreenActions, facts: object) -> list[Action]:
    """The actions that can be done now by name, for the command palette."""
    return [action for action in keys.actions if action.by_name and action.applies(facts)]


def find_action(keys: ScreenActions, name: str) -> list[Action]:
    """All actions of a screen whose id is `name`, or a call of it."""
    return [action for action in keys.actions if action.id == name or action.id.startswith(f"{name}(")]


def keys_markdown() -> str:
    """A table of keys for each screen, for the docs."""
    lines: list[str] = []
    for keys in SCREENS.values():
        rows = [f"| `{action.key_label}` | {action.group} | {action.description} |" for action in keys.actions]
        lines += [f"## {keys.title}", "", "| key | | what it does |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)
