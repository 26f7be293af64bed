"""Where adaptive Best-of-N may stop: the reward from which on a trajectory is good enough, chosen on dev.

Recorded trajectories are drawn one after another, in many orders, until one reaches a threshold; chosen is the one
that costs the fewest tokens of those whose mean outcome is that of all trajectories, or better.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import msgspec

from agentrm_models.folder_settings import SETTINGS_FILE, read_settings
from agentrm_models.rewards.base import RewardModel, ScoreGroup
from agentrm_trainer.data.judged import trajectory_ends
from agentrm_trainer.workflow.workspace import write_atomically
from agentrm_tui.runs.conversations import reward_conversation
from agentrm_tui.runs.state import EpisodeState, RunState

ORDERS = 40
"""In how many orders the trajectories of a task are drawn."""

CANDIDATES = 50
"""Thresholds that are tried: quantiles of the rewards."""


class Drawn(NamedTuple):
    """One sampled trajectory: its reward at the end, its outcome, and the tokens that were sampled for it."""

    reward: float
    outcome: float
    tokens: int


class Stopping(NamedTuple):
    """What a threshold comes to.

    Attributes:
        outcome, tokens: Means over tasks, each a mean over orders.
    """

    threshold: float
    outcome: float
    tokens: float


def drawn_trajectories(state: RunState, reward: RewardModel) -> list[list[Drawn]]:
    """The trajectories of each task of a Best-of-N run, as often as they were sampled, judged by a reward model."""
    return [_judged(episode, reward) for episode in state.episodes.values() if trajectory_ends(episode)]


def _judged(episode: EpisodeState, reward: RewardModel) -> list[Drawn]:
    ends, tree = trajectory_ends(episode), episode.tree
    style = reward.traits.prompt
    group = ScoreGroup(tuple(reward_conversation(episode.start, tree, end.id, style) for end in ends))
    (values,) = reward.score([group])
    return [
        Drawn(value, end.outcome or 0.0, sum(node.tokens for node in tree.path(end.id)))
        for end, value in zip(ends, values, strict=True)
        for _ in range(end.samples)
    ]


def stopped_at(tasks: Sequence[Sequence[Drawn]], threshold: float, seed: int = 0) -> Stopping:
    """What comes of drawing each task's trajectories until one reaches the threshold, or all are drawn."""
    found = [_one_task(drawn, threshold, random.Random(f"{seed}/{number}")) for number, drawn in enumerate(tasks)]
    return Stopping(threshold, fmean(outcome for outcome, _ in found), fmean(tokens for _, tokens in found))


def _one_task(drawn: Sequence[Drawn], threshold: float, order: random.Random) -> tuple[float, float]:
    outcomes, costs, rows = [], [], list(drawn)
    for _ in range(ORDERS):
        order.shuffle(rows)
        stop = next((place for place, row in enumerate(rows) if row.reward >= threshold), len(rows) - 1)
        seen = rows[: stop + 1]
        outcomes.append(max(seen, key=lambda row: row.reward).outcome)
        costs.append(sum(row.tokens for row in seen))
    return fmean(outcomes), fmean(costs)


def choose_threshold(tasks: Sequence[Sequence[Drawn]], seed: int = 0) -> Stopping | None:
    """The cheapest threshold that loses nothing against drawing all; None without trajectories."""
    rewards = sorted(row.reward for drawn in tasks for row in drawn)
    if not rewards:
        return None
    places = {round(step * (len(rewards) - 1) / CANDIDATES) for step in range(CANDIDATES + 1)}
    tried = [stopped_at(tasks, rewards[place], seed) for place in sorted(places)]
    everything = stopped_at(tasks, float("inf"), seed)
    kept = [found for found in tried if found.outcome >= everything.outcome]
    return min(kept, key=lambda found: found.tokens, default=tried[-1])


def store_threshold(folder: Path, states: Iterable[RunState], reward: RewardModel, seed: int) -> Stopping | None:
    """Choose a threshold on runs of dev tasks and write it into a reward model's folder.

    Args:
        reward: The model of that folder.
    """
    tasks = [drawn for state in states for drawn in drawn_trajectories(state, reward)]
    found = choose_threshold(tasks, seed)
    if found is not None:
        settings = msgspec.structs.replace(read_settings(folder), stop_at=round(found.threshold, 4))
        write_atomically(folder / SETTINGS_FILE, msgspec.json.encode(settings).decode() + "\n")
    return found
