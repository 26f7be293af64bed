"""Which tasks a stage plays, and how an initial state is recognised again in another split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from agentrm_trainer.config import EnvironmentSection
from agentrm_tui.environments.base import SPLIT_SEEDS, Environment, Split, Task
from agentrm_tui.environments.pictures import encode_picture
from agentrm_tui.runs.events import EpisodeStarted

EXPLORE_FIRST_SEED = 1_000_000
"""First training seed that exploration uses; collected trajectories stay below it."""


def tasks_from(
    environment: Environment, section: EnvironmentSection, split: Split, first: int, count: int
) -> list[Task]:
    """Tasks number `first` … of a split: the environment's own mix, or the section's levels in turn."""
    start = SPLIT_SEEDS[split] + first if environment.traits.procedural else first
    levels = (section.test_levels if split == "test" else ()) or section.levels
    if not levels:
        return list(environment.tasks(split, start, count))
    return [environment.task(f"{levels[seed % len(levels)]}:{seed}") for seed in range(start, start + count)]


def initial_state(environment: Environment, task: Task, observation: str) -> str:
    """Identity (16 hex digits) of the state just reset to: goal, first observation and picture.

    The picture shows what the observation may hide; `state_key` serves where there is none. Neither holds the seed,
    so that equal initial states under two seeds are found.
    """
    parts = [environment.traits.name, task.goal, observation]
    if environment.traits.pictures:
        parts.append(encode_picture(environment.picture()._replace(caption="")))
    elif environment.traits.state_keys:
        parts.append(environment.state_key())
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def episode_started(environment: Environment, task: Task, observation: str) -> EpisodeStarted:
    """The event that conversations are built from, for episodes that are played outside a run."""
    return EpisodeStarted(
        episode=task.id,
        task=task.id,
        goal=task.goal,
        observation=observation,
        step_limit=task.step_limit,
        level=task.level,
        instruction=environment.instruction("full"),
        reward_instruction=environment.instruction("short"),
    )


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
