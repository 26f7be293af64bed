"""What each method scored on each test task, read from run files."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agentrm_trainer.data.judged import ended_early, trajectory_ends
from agentrm_tui.runs.state import EpisodeState, RunState
from agentrm_tui.search.tree import Node


class TaskResult(msgspec.Struct, frozen=True):
    """One task under one method.

    Attributes:
        score: Outcome in [0, 1]; for a random choice its expectation.
        success: Probability that the outcome was 1.
        tokens: Generated tokens.
        early_failures, failures: Trajectories that failed before the step limit, and that failed at all (sampled ones).
    """

    environment: str
    task: str
    score: float
    success: float
    tokens: int
    early_failures: int = 0
    failures: int = 0


class MethodResult(msgspec.Struct, frozen=True):
    """All tasks under one method."""

    method: str
    tasks: tuple[TaskResult, ...]


SUCCESS = 1.0 - 1e-9


def from_episode(environment: str, state: RunState) -> Iterator[TaskResult]:
    """The outcome of what the method chose; an episode that failed by a fault counts 0."""
    for episode in state.episodes.values():
        score = episode.outcome or 0.0
        tokens = episode.ledger.policy_tokens_generated
        yield TaskResult(environment, episode.start.task, score, float(score >= SUCCESS), tokens)


def from_samples(environment: str, state: RunState) -> dict[str, list[TaskResult]]:
    """Rows that need the samples of Best-of-N only: random one, shortest, likeliest, best.

    Equal samples are one trajectory that counts as often as it was drawn.
    """
    rows: dict[str, list[TaskResult]] = {
        name: [] for name in ("random-of-n", "shortest-of-n", "likeliest-of-n", "oracle")
    }
    for episode in state.episodes.values():
        ends = trajectory_ends(episode)
        tokens = episode.ledger.policy_tokens_generated
        if not ends:
            for results in rows.values():
                results.append(TaskResult(environment, episode.start.task, 0.0, 0.0, tokens))
            continue
        rows["random-of-n"].append(_expected(environment, episode, ends, tokens))
        chosen = {
            "shortest-of-n": min(ends, key=lambda end: end.depth),
            "likeliest-of-n": max(ends, key=lambda end: mean_log_probability(episode, end)),
            "oracle": max(ends, key=lambda end: end.outcome or 0.0),
        }
        for name, end in chosen.items():
            score = end.outcome or 0.0
            rows[name].append(TaskResult(environment, episode.start.task, score, float(score >= SUCCESS), tokens))
    return rows


def _expected(environment: str, episode: EpisodeState, ends: list[Node], tokens: int) -> TaskResult:
    drawn = sum(end.samples for end in ends)
    scores = [(end.outcome or 0.0, end) for end in ends]
    failed = [(end.samples, ended_early(episode, end)) for score, end in scores if score < SUCCESS]
    return TaskResult(
        environment,
        episode.start.task,
        sum(score * end.samples for score, end in scores) / drawn,
        sum(end.samples for score, end in scores if score >= SUCCESS) / drawn,
        tokens,
        sum(samples for samples, early in failed if early),
        sum(samples for samples, _ in failed),
    )


def mean_log_probability(episode: EpisodeState, end: Node) -> float:
    """Log-probability of a trajectory's replies for each of their tokens, in nats."""
    path = episode.tree.path(end.id)[1:]
    return sum(node.log_probability for node in path) / max(1, sum(node.tokens for node in path))
