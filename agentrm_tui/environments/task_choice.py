"""Which tasks are played: from ids, levels, seeds and a split to task ids, for runs, launcher and trainer alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentrm_models.errors import UsageError
from agentrm_models.spelling import did_you_mean
from agentrm_tui.environments.base import SPLIT_SEEDS, Environment, Split


class TaskChoice(NamedTuple):
    """Which tasks are to be played.

    Attributes:
        ids: Task ids that were named; the other fields then do not count.
        levels: Only these levels, in turn; empty for the environment's mix.
        number: How many tasks; None for one.
        first_seed: Seed (or, in a fixed list, place) of the first task; None for the split's own first.
    """

    ids: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    number: int | None = None
    first_seed: int | None = None
    split: Split = "test"


def seeded_ids(levels: Sequence[str], first_seed: int, count: int) -> tuple[str, ...]:
    """Ids of tasks of consecutive seeds: seed `s` plays level `levels[s % len(levels)]`."""
    return tuple(f"{levels[seed % len(levels)]}:{seed}" for seed in range(first_seed, first_seed + count))


def choose_tasks(environment: Environment, choice: TaskChoice) -> tuple[str, ...]:
    """The ids of the chosen tasks, all of which exist.

    Raises:
        UsageError: No such level or task; the message offers the nearest spelling.
    """
    if choice.ids:
        if choice.levels or choice.first_seed is not None or choice.number is not None:
            raise UsageError("--task names the tasks already", "Leave out --level, --first-seed and --tasks.")
        return tuple(environment.task(name).id for name in choice.ids)
    count = 1 if choice.number is None else choice.number
    traits = environment.traits
    if not choice.levels:
        tasks = tuple(task.id for task in environment.tasks(choice.split, choice.first_seed, count))
    else:
        for level in choice.levels:
            _check_level(environment, level)
        if traits.procedural:
            first = SPLIT_SEEDS[choice.split] if choice.first_seed is None else choice.first_seed
            tasks = tuple(environment.task(name).id for name in seeded_ids(choice.levels, first, count))
        else:
            listed = environment.tasks(choice.split, choice.first_seed)
            tasks = tuple([task.id for task in listed if task.level in choice.levels][:count])
    if tasks:
        environment.task(tasks[-1])
    else:
        raise UsageError(f"{traits.name} has no tasks in split {choice.split!r} from --first-seed {choice.first_seed}")
    return tasks


def _check_level(environment: Environment, level: str) -> None:
    levels = environment.traits.levels
    if level not in levels:
        if environment.traits.procedural:
            environment.task(level)  # it may know better than the nearest name what is missing
        raise UsageError(f"{environment.traits.name} has no level {level[:80]!r}", did_you_mean(level, levels))
