"""What the engine's process is asked and what it answers: one line of JSON each."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import TypeAlias

import msgspec

from agentrm_tui.environments.alfworld.games import Game


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Stand at the beginning of a game; it is loaded if it is not among the last ones."""

    game: Game


class Take(msgspec.Struct, frozen=True, tag="take"):
    """Give a command in a state that was shown before. The state stays; any number of commands may be tried in it.

    Attributes:
        game: The key of the game.
        state: The state's name.
        command: One of the commands that were shown there.
    """

    game: str
    state: str
    command: str


class Shown(msgspec.Struct, frozen=True, tag="shown"):
    """A state of a game.

    Attributes:
        state: Names it, as long as the engine's process lives and keeps the game.
        text: What the game says.
        actions: The commands that are admissible, sorted.
        won: The goal is reached.
        progress: The share of the goal's conditions that hold; 1 exactly when it is reached.
        key: Equal for states with equal futures.
        advice: The command of the stored solution that goes on from here; empty where it knows no way.
        thought: Why, where the game says.
        solved: The stored solution reaches the goal; told at the beginning of a game.
    """

    state: str
    text: str
    actions: tuple[str, ...]
    won: bool
    progress: float
    key: str
    advice: str = ""
    thought: str = ""
    solved: bool = False


class Gone(msgspec.Struct, frozen=True, tag="gone"):
    """The state is of a game that is not loaded any more."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A game that cannot be played, or a package that is missing.

    Attributes:
        reason: What the engine said, in one line.
        missing: A package is not installed.
        impossible: The engine found that its goal can never be reached.
    """

    reason: str
    missing: bool = False
    impossible: bool = False


Request: TypeAlias = Begin | Take
Answer: TypeAlias = Shown | Gone | Failed

_MOVE = re.compile(r"move (.+) to (.+)")
_PUT = re.compile(r"put (.+) (?:in/on|in|on) (.+)")


def spelled(command: str, offered: Container[str]) -> str:
    """A command as this game spells it (`move X to Y` is `put X in/on Y`); empty where it is not offered."""
    if command in offered:
        return command
    if match := _MOVE.fullmatch(command) or _PUT.fullmatch(command):
        thing, place = match.groups()
        for other in (f"move {thing} to {place}", f"put {thing} in/on {place}"):
            if other in offered:
                return other
    return ""
