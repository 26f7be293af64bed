"""Example episodes that a policy is shown before the goal (`--demonstrations`): the expert's, or those of a file.

The expert plays training tasks of the levels that the run plays, as a run of its own; the shortest of its successes are
shown, so that they leave room. They are the same for all episodes, so a prefix cache reads them once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from agentrm_models.errors import DataError, UsageError
from agentrm_models.messages import Conversation, Message
from agentrm_models.policies.expert import ExpertPolicy
from agentrm_models.replies import format_reply, parse_reply
from agentrm_tui.environments.base import Environment, Task
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.conversations import policy_conversation
from agentrm_tui.runs.demonstration_file import read_demonstrations
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import EpisodeState
from agentrm_tui.search.greedy import Greedy

MOST = 64
"""Demonstrations at most; no window holds as many."""

FIRST_SEED, SEED_BLOCKS = 4_000_000, 10_000
"""Training seeds from here on, beyond those that training and exploration use; a run's own seed chooses a block."""

PLAYED_EACH = 4
"""Training tasks that the expert plays for each demonstration."""


def demonstrations_of(
    plan: RunPlan, environment: Environment, tasks: Sequence[Task], make: Callable[[str], Environment]
) -> tuple[Conversation, ...]:
    """The demonstrations that a plan asks for.

    Args:
        environment: An instance of the plan's, to look up tasks.
        tasks: The plan's tasks, none of which is shown.
        make: Makes the instance that the expert plays in.

    Returns:
        For each, messages that begin with its goal and end with its last reply.

    Raises:
        UsageError: The environment has no expert or no other training tasks, or too many are asked for.
        DataError: The file cannot be read, or the expert solves too few tasks.
    """
    if isinstance(plan.demonstrations, str):
        found = read_demonstrations(Path(plan.demonstrations).expanduser())
    else:
        found = _of_expert(plan, plan.demonstrations, environment, tasks, make)
    if not 1 <= len(found) <= MOST:
        raise UsageError(f"--demonstrations: {len(found)} episodes", f"Give 1 to {MOST}.")
    return tuple(map(_actions_alone, found)) if plan.candidates == "valid" else tuple(found)


def _of_expert(
    plan: RunPlan, count: int, environment: Environment, tasks: Sequence[Task], make: Callable[[str], Environment]
) -> list[Conversation]:
    if not environment.traits.expert:
        raise UsageError(
            f"--demonstrations {count}: environment {environment.traits.name!r} has no expert",
            "Give a file of trajectories instead.",
        )
    if not 1 <= count <= MOST:
        raise UsageError(f"--demonstrations {count} is not a number from 1 to {MOST}")
    levels = list(dict.fromkeys(task.level for task in tasks))
    wanted = [levels[place % len(levels)] for place in range(count)]
    found: list[Conversation] = []
    for level in dict.fromkeys(wanted):
        number = wanted.count(level)
        names = _training_tasks(environment, level, number * PLAYED_EACH, plan)
        solved = sorted(_solved(plan, names, make), key=lambda episode: episode.steps)
        if len(solved) < number:
            raise DataError(
                f"--demonstrations {count}: the expert solved {len(solved)} of {len(names)} training tasks of {level}",
                "Ask for fewer, or give a file of trajectories.",
            )
        found += [_shown(episode) for episode in solved[:number]]
    return found


def _training_tasks(environment: Environment, level: str, count: int, plan: RunPlan) -> tuple[str, ...]:
    """Training tasks of a level that the plan does not play; its seed chooses which."""
    block = plan.seed % SEED_BLOCKS
    if environment.traits.procedural:
        first = FIRST_SEED + block * MOST * PLAYED_EACH % 900_000
        seeds = iter(range(first, first + count + len(plan.tasks)))
        named = (environment.task(f"{level}:{seed}").id for seed in seeds)
        return tuple(islice((name for name in named if name not in plan.tasks), count))
    listed = [task for task in environment.tasks("train") if task.id not in plan.tasks]
    listed = [task for task in listed if task.level == level] or listed
    if not listed:
        raise UsageError(
            f"--demonstrations: {environment.traits.name} has no training tasks beside those that are played",
            "Give a file of trajectories instead.",
        )
    turn = block * count % len(listed)
    return tuple(task.id for task in (listed[turn:] + listed[:turn])[:count])


def _solved(plan: RunPlan, names: tuple[str, ...], make: Callable[[str], Environment]) -> list[EpisodeState]:
    """The episodes of these tasks that the expert brings to a full score."""
    watched = RunPlan(environment=plan.environment, tasks=names, policy="expert", search=Greedy(), temperature=0.0)
    state = run_plan(watched, policy=ExpertPolicy(), reward=None, emit=_unrecorded, environments=make)
    return [episode for episode in state.episodes.values() if episode.outcome == 1 and episode.chosen]


def _shown(episode: EpisodeState) -> Conversation:
    """What the expert was told and replied, up to its last reply."""
    assert episode.chosen is not None
    _, *turns = policy_conversation(episode.start, episode.tree, episode.chosen)
    return tuple(turns[:-1])


def _actions_alone(demonstration: Conversation) -> Conversation:
    """The same without thoughts, as a policy replies that chooses among valid actions."""
    return tuple(
        Message("assistant", format_reply("", parse_reply(message.content).action or message.content))
        if message.role == "assistant"
        else message
        for message in demonstration
    )


def _unrecorded(event: object) -> None:
    """The expert's run keeps no file: what is shown of it stands in the file of the run that shows it."""
