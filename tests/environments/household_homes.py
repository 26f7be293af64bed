"""A hand-made home, small enough to know by heart, with any goal."""

from __future__ import annotations

from agentrm_tui.environments.base import Task
from agentrm_tui.environments.household.environment import HouseholdEnvironment, Moment
from agentrm_tui.environments.household.homes import Goal, Home, Named, TaskType
from agentrm_tui.environments.household.levels import LEVELS
from agentrm_tui.environments.household.world import first_state

PLACES = ("cabinet 2", "cabinet 1", "countertop 1", "desk 1", "drawer 1", "fridge 1", "microwave 1", "sinkbasin 1")
KEPT = {
    "apple 1": "fridge 1",
    "book 1": "desk 1",
    "desklamp 1": "desk 1",
    "knife 1": "drawer 1",
    "mug 2": "cabinet 2",
    "mug 1": "countertop 1",
}


def named(name: str) -> Named:
    kind, number = name.split()
    return Named(kind, int(number))


def make(task_type: TaskType, thing: str, place: str, kept: dict[str, str] | None = None) -> Home:
    start = tuple(PLACES.index(where) for where in (kept or KEPT).values())
    goal = Goal(task_type, thing, place, "a goal.")
    return Home("kitchen", tuple(map(named, PLACES)), tuple(map(named, kept or KEPT)), start, goal)


def enter(home: Home, size: str = "small") -> HouseholdEnvironment:
    """An environment at the beginning of an episode in a hand-made home."""
    environment = HouseholdEnvironment()
    level = f"{home.goal.type}-{size}"
    task = Task(f"{level}:0", home.goal.text, 0, LEVELS[level].step_limit, level)
    environment.restore(Moment(task, home, first_state(home)))
    return environment
