"""Adaptive Best-of-N: trajectories in small waves, until the reward model is content with one of them.

A wave is grown in lock-step like Best-of-N's, and each trajectory is scored as soon as it ends. The search stops at the
first whose reward reaches the threshold: what is still running then is given up, which saves its further tokens. Later
waves draw further samples in the same tree, so after n trajectories without such a one the answer is that of Best-of-N.
"""

from __future__ import annotations

from typing import ClassVar, Self

import msgspec

from agentrm_tui.search.algorithm import Algorithm, Count, Finite, RewardFacts
from agentrm_tui.search.asking import Asking, act, propose, score, value
from agentrm_tui.search.beam import best
from agentrm_tui.search.requests import Choose, Search
from agentrm_tui.search.tree import ROOT, NodeId, Tree


class Adaptive(Algorithm, frozen=True, kw_only=True, tag="adaptive"):
    """Best-of-N that stops as soon as a trajectory is good enough.

    Attributes:
        n: Trajectories at most.
        wave: Trajectories that are grown at a time.
        stop_at: The reward at which the search stops; the reward model's own threshold if absent.
    """

    summary: ClassVar[str] = "trajectories in small waves, until one is good enough"
    compares_requests: ClassVar[bool] = True

    n: Count = 20
    wave: Count = 2
    stop_at: Finite | None = None

    @property
    def words(self) -> str:
        """For example `adaptive, at most 20, until 0.7`."""
        until = "" if self.stop_at is None else f", until {self.stop_at:g}"
        return f"adaptive, at most {self.n}{until}"

    @property
    def samples(self) -> int:
        """Every trajectory begins at the root."""
        return self.n

    def with_reward(self, reward: RewardFacts) -> Self:
        """The reward model's own threshold, where none was given."""
        return msgspec.structs.replace(self, stop_at=reward.threshold) if self.stop_at is None else self

    def missing(self) -> str:
        """A threshold must come from somewhere."""
        return "--stop-at" if self.stop_at is None else ""

    def start(self, tree: Tree) -> Search:
        """Begin."""
        return adaptive(self, tree)


def adaptive(settings: Adaptive, tree: Tree) -> Search:
    """Grow waves until a trajectory's reward reaches the threshold or n are grown; then choose the best end."""
    ends: dict[NodeId, None] = {}
    left = settings.n
    while left > 0:
        count = min(settings.wave, left)
        left -= count
        content = yield from _grow_wave(settings, tree, count, ends)
        if content:
            break
    if ends:
        yield Choose(best(tree, list(ends)), final=True)


def _grow_wave(settings: Adaptive, tree: Tree, count: int, ends: dict[NodeId, None]) -> Asking[bool]:
    """Grow `count` trajectories from the root, scoring each as it ends; whether one of them is good enough."""
    threshold = float("inf") if settings.stop_at is None else settings.stop_at
    running = {ROOT: count}
    while running:
        children = yield from propose(tree, list(running), list(running.values()))
        running = {child.node: child.samples for siblings in children for child in siblings}
        yield from act(tree, list(running))
        ended = [node for node in running if tree[node].done]
        fresh = [node for node in ended if node not in ends]
        if fresh:
            yield from score(fresh)
            ends.update(dict.fromkeys(fresh))
            yield Choose(best(tree, list(ends)))
        if any(value(tree[node]) >= threshold for node in ended):
            return True
        running = {node: samples for node, samples in running.items() if not tree[node].done}
    return False
