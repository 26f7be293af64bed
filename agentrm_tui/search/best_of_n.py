"""Best-of-N: N whole trajectories, grown in lock-step as one tree; the reward model picks one at the end.

Source: AgentRM, test-time search (N = 5). Equal actions after equal histories are one node that stands for several
samples, and is gone on with as often. A trajectory is judged by the `reward_value` of its last action; other
aggregations over its steps are options.
"""

from __future__ import annotations

from statistics import fmean
from typing import ClassVar, Self

import msgspec

from agentrm_tui.search.algorithm import Aggregate, Algorithm, Count, RewardFacts
from agentrm_tui.search.asking import Asking, act, propose, score, value
from agentrm_tui.search.requests import Choose, Search
from agentrm_tui.search.tree import ROOT, NodeId, Tree


class BestOfN(Algorithm, frozen=True, kw_only=True, tag="best-of-n"):
    """N whole trajectories, of which the reward model picks one.

    Attributes:
        n: Trajectories at most (paper: 5).
        aggregate: How the rewards of a trajectory's steps become its value.
    """

    summary: ClassVar[str] = "N whole trajectories, of which the reward model picks one"

    n: Count = 5
    aggregate: Aggregate = "last"

    @property
    def words(self) -> str:
        """For example `best of 5`."""
        return f"best of {self.n}"

    @property
    def needs_reward(self) -> bool:
        """One trajectory needs no choice."""
        return self.n > 1

    @property
    def samples(self) -> int:
        """All trajectories begin at the root."""
        return self.n

    def with_reward(self, reward: RewardFacts) -> Self:
        """A reward of whole trajectories is that of the last step; the rewards of its beginnings are no parts of it."""
        return msgspec.structs.replace(self, aggregate="last") if reward.unit == "trajectory" else self

    def judges_steps(self) -> str:
        """Every aggregation but `last` reads the rewards of all steps."""
        return "" if self.aggregate == "last" else "--aggregate"

    def start(self, tree: Tree) -> Search:
        """Begin."""
        return best_of_n(self, tree)


def best_of_n(settings: BestOfN, tree: Tree) -> Search:
    """Sample N trajectories, score their ends (or all their steps), choose the best; the first one on ties."""
    ends = yield from grow(tree, settings.n)
    if len(ends) > 1:
        judged = ends if settings.aggregate == "last" else _steps(tree, ends)
        yield from score(judged)
    if ends:
        yield Choose(max(ends, key=lambda node: worth(settings, tree, node)), final=True)


def grow(tree: Tree, n: int) -> Asking[list[NodeId]]:
    """Grow `n` trajectories from the root to their ends and return the distinct ends, earliest node first."""
    running, ends = {ROOT: n}, list[NodeId]()
    while running:
        children = yield from propose(tree, list(running), list(running.values()))
        running = {child.node: child.samples for siblings in children for child in siblings}
        yield from act(tree, list(running))
        ends += [node for node in running if tree[node].done]
        running = {node: count for node, count in running.items() if not tree[node].done}
    return ends


def worth(settings: BestOfN, tree: Tree, end: NodeId) -> float:
    """The value of a trajectory: its steps' rewards under the aggregation of the settings."""
    if settings.aggregate == "last":
        return value(tree[end])
    steps = [value(node) for node in tree.path(end)[1:]]
    match settings.aggregate:
        case "mean":
            return fmean(steps)
        case "min":
            return min(steps)
        case "sum":
            return sum(steps)


def _steps(tree: Tree, ends: list[NodeId]) -> list[NodeId]:
    """Every node on the paths to the ends, without the root, each once, in the order in which they were made."""
    wanted = {node.id: None for end in ends for node in tree.path(end)[1:]}
    return [node.id for node in tree if node.id in wanted]
