"""States with known worth, on which a reward model is measured: ends of episodes, and siblings after fresh rollouts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import msgspec

from agentrm_models.messages import Conversation, PromptStyle
from agentrm_tui.runs.conversations import reward_conversation
from agentrm_tui.runs.state import EpisodeState, RunState
from agentrm_tui.search.tree import Node


class Judged(msgspec.Struct, frozen=True):
    """A state to be judged, and what it is worth.

    Attributes:
        conversation: Goal and history, ending in the action.
        worth: Outcome of the episode that ended with it, or the mean outcome of rollouts from it.
        label: The action, or the node's id.
    """

    conversation: Conversation
    worth: float
    label: str = ""


class JudgedGroup(msgspec.Struct, frozen=True):
    """States that are compared with each other: ends of one task's episodes, or siblings."""

    environment: str
    task: str
    level: str
    items: tuple[Judged, ...]


class PairAccuracy(NamedTuple):
    """How many pairs of different worth were ordered right; equal values count one half.

    Attributes:
        accuracy: NaN where there is no pair.
    """

    accuracy: float
    pairs: int


def trajectory_ends(episode: EpisodeState) -> list[Node]:
    """The last nodes of an episode's sampled trajectories, in the order in which they were made."""
    return [node for node in episode.tree if node.done and node.phase == "search"]


def ended_early(episode: EpisodeState, end: Node) -> bool:
    """Whether a trajectory ended by itself, before the step limit."""
    return end.done and end.depth < episode.start.step_limit


def early_end_groups(state: RunState, style: PromptStyle) -> Iterator[JudgedGroup]:
    """For each task the ends of its trajectories that ended early, where they differ in outcome."""
    environment = state.run.plan.environment if state.run else ""
    for episode in state.episodes.values():
        items = tuple(
            Judged(reward_conversation(episode.start, episode.tree, end.id, style), end.outcome or 0.0, end.id)
            for end in trajectory_ends(episode)
            if ended_early(episode, end)
        )
        if len({item.worth for item in items}) > 1:
            yield JudgedGroup(environment, episode.start.task, episode.start.level, items)


def pair_accuracy(
    groups: Iterable[JudgedGroup], values: Iterable[Sequence[float]], least_difference: float
) -> PairAccuracy:
    """Share of pairs, whose worth differs at least so much, that the values order right.

    Args:
        values: For each group one value for each item.
        least_difference: Pairs nearer than this are left out; equal worth never makes a pair.
    """
    right, pairs = 0.0, 0
    for group, scores in zip(groups, values, strict=True):
        for (one, score_one), (other, score_other) in combinations(zip(group.items, scores, strict=True), 2):
            difference = one.worth - other.worth
            if difference == 0 or abs(difference) < least_difference - 1e-9:
                continue
            pairs += 1
            product = difference * (score_one - score_other)
            right += 1.0 if product > 0 else 0.5 if product == 0 else 0.0
    return PairAccuracy(right / pairs if pairs else float("nan"), pairs)
