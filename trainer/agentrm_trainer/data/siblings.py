"""Siblings from runs: actions in the same state, each with the mean outcome of rollouts of its own."""

from __future__ import annotations

from collections.abc import Iterator

from agentrm_models.messages import PromptStyle
from agentrm_trainer.data.judged import Judged, JudgedGroup
from agentrm_tui.runs.conversations import reward_conversation
from agentrm_tui.runs.state import RunState
from agentrm_tui.search.siblings import Siblings


def siblings_search(states: int, tasks: int, candidates: int, rollouts: int) -> Siblings:
    """The search that compares actions in about `states` states of so many tasks."""
    return Siblings(states=-(-states // max(1, tasks)), candidates=candidates, rollouts=rollouts)


def sibling_groups(state: RunState, style: PromptStyle) -> Iterator[JudgedGroup]:
    """The compared actions of each state of a run of the siblings search.

    Args:
        style: Which instruction the judged conversations have.
    """
    if state.run is None or not isinstance(state.run.plan.search, Siblings):
        raise ValueError("siblings are read from a run of the siblings search")
    plan, rollouts = state.run.plan, state.run.plan.search.rollouts
    for episode in state.episodes.values():
        tree, start = episode.tree, episode.start
        for node in tree:
            compared = [child for child in tree.children(node.id) if child.valid and child.visits >= rollouts]
            if len(compared) < 2 or any(child.phase != "search" for child in compared):
                continue
            items = tuple(
                Judged(reward_conversation(start, tree, child.id, style), child.mean_return or 0.0, child.action)
                for child in compared
            )
            yield JudgedGroup(plan.environment, start.task, start.level, items)
