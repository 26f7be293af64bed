"""Levels: own homes of the six task types in two sizes, and the splits of a person's own copy of ALFWorld's games."""

from __future__ import annotations

from functools import lru_cache

from agentrm_tui.environments.alfworld.games import TASK_TYPES, Game, game_of
from agentrm_tui.environments.household import levels as household

SMALL = "-small"
"""What the names of levels with small homes end in."""

HOMES = {
    f"{TASK_TYPES[spec.type]}{SMALL if spec.size == 'small' else ''}": name
    for size in ("full", "small")
    for name, spec in household.LEVELS.items()
    if spec.size == size
}
"""Own levels, and the level of `household` that their homes are of; those of ALFWorld's size first."""
MIX = tuple(level for level in HOMES if not level.endswith(SMALL))


def step_limit(level: str) -> int:
    """Steps after which an episode in a home ends: 50, ALFWorld's own, or 20 in a small one."""
    return household.LEVELS[HOMES[level]].step_limit


def home_goal(level: str, seed: int) -> str:
    """What is asked for in a home."""
    return household.make_home(HOMES[level], seed).goal.text


# A game never changes, so instances may share it.
@lru_cache(maxsize=64)
def make_game(level: str, seed: int) -> Game:
    """The home of this level and seed as a game, whose solution has been carried out by the rules of `household`."""
    return game_of(household.make_home(HOMES[level], seed))
