"""Which tasks a stage plays, and how an initial state is recognised again in another split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from agentrm_trainer.config import EnvironmentSection
from agentrm_tui.environments.base import SPLIT_SEEDS, Environment, Split, Task
from agentrm_tui.environments.pictures import decode_picture, encode_picture
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.environments.task_choice import TaskChoice, choose_tasks
from agentrm_tui.runs.events import EpisodeStarted
from agentrm_tui.runs.texts import printable

EXPLORE_FIRST_SEED = 1_000_000
"""First training seed that exploration uses; collected trajectories stay below it."""


def tasks_from(
    environment: Environment, section: EnvironmentSection, split: Split, first: int, count: int
) -> list[Task]:
    """Tasks number `first` … of a split: the environment's own mix, or the section's levels in turn."""
    start = SPLIT_SEEDS[split] + first if environment.traits.procedural else first
    levels = (section.test_levels if split == "test" else ()) or section.levels
    choice = TaskChoice(levels=levels, number=count, first_seed=start, split=split)
    return [environment.task(name) for name in choose_tasks(environment, choice)]


def task_ids(section: EnvironmentSection, split: Split, first: int, count: int) -> tuple[str, ...]:
    """Ids of tasks, as `tasks_from` gives them."""
    environment = make_environment(section.name)
    try:
        return tuple(task.id for task in tasks_from(environment, section, split, first, count))
    finally:
        environment.close()


def initial_state(environment: Environment, task: Task, observation: str) -> str:
    """Identity (16 hex digits) of the state just reset to: goal, first observation and picture.

    The picture shows what the observation may hide; `state_key` serves where there is none. Neither holds the seed,
    so that equal initial states under two seeds are found.
    """
    traits = environment.traits
    picture = encode_picture(environment.picture()) if traits.pictures else ""
    return _identity(traits.name, task.goal, observation, picture, environment.state_key() if traits.state_keys else "")


def state_at_start(environment: str, start: EpisodeStarted) -> str:
    """The same identity, of the state that an episode of a run began in."""
    return _identity(environment, start.goal, start.observation, start.picture, start.state_key)


def _identity(environment: str, goal: str, observation: str, picture: str, state_key: str) -> str:
    parts = [environment, printable(goal), printable(observation)]
    if picture:
        parts.append(encode_picture(decode_picture(picture)._replace(caption="")))
    elif state_key:
        parts.append(state_key)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def unseen_tasks(
    environment: Environment, section: EnvironmentSection, split: Split, count: int, seen: frozenset[str]
) -> Iterator[tuple[Task, bool]]:
    """Tasks of a split until `count` have an initial state that is not in `seen`; the flag says whether it is new.

    Equal initial states inside the split count once. Gives up after twenty times as many tasks.
    """
    found, met = 0, set(seen)
    for first in range(0, 20 * count, count):
        for task in tasks_from(environment, section, split, first, count):
            key = initial_state(environment, task, environment.reset(task))
            new = key not in met
            met.add(key)
            found += new
            yield task, new
            if found == count:
                return
