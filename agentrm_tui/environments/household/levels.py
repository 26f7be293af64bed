"""The levels: six task types in two sizes, and homes whose task the expert has carried out."""

from __future__ import annotations

from functools import lru_cache
from random import Random
from typing import NamedTuple

from agentrm_tui.environments.household.commands import read_command
from agentrm_tui.environments.household.expert import advise
from agentrm_tui.environments.household.homes import TASK_TYPES, Home, Size, TaskType, draw_home
from agentrm_tui.environments.household.world import act, first_state, progress


class Level(NamedTuple):
    """A kind of episode.

    Attributes:
        type: The task type.
        size: How many places and things there are.
        step_limit: Steps after which an episode ends; full homes have ALFWorld's fifty.
        strict: Mistakes end an episode, as small homes do.
        spare: Steps that the expert's way leaves at least.
    """

    type: TaskType
    size: Size
    step_limit: int
    strict: bool
    spare: int


_SIZES: tuple[tuple[Size, int, int], ...] = (("small", 20, 5), ("full", 50, 10))
"""Sizes, step limits and steps to spare."""

LEVELS: dict[str, Level] = {
    f"{task_type}-{size}": Level(task_type, size, step_limit, size == "small", spare)
    for size, step_limit, spare in _SIZES
    for task_type in TASK_TYPES
}
"""All levels by name, the small ones first."""


# A home never changes, so instances may share it.
@lru_cache(maxsize=256)
def make_home(level: str, seed: int) -> Home:
    """Draw homes until the expert, who searches for what it needs, carries out the task with steps to spare."""
    spec = LEVELS[level]
    rng = Random(f"household/{level}/{seed}")
    while True:
        home = draw_home(spec.type, spec.size, rng)
        if home is not None and expert_way(home, spec.step_limit - spec.spare):
            return home


def expert_way(home: Home, most: int) -> tuple[str, ...]:
    """The expert's actions from the first state to the goal; empty when it needs more than `most`."""
    state, actions = first_state(home), list[str]()
    while len(actions) < most:
        action = advise(home, state).action
        command = read_command(action)
        effect = act(home, state, command) if command else None
        if effect is None:
            return ()
        actions.append(action)
        state = effect.state
        if progress(home, state) == 1.0:
            return tuple(actions)
    return ()
