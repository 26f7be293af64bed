"""Siblings: what the actions that one would take in the same state are really worth under the policy.

A trajectory is sampled. In some of its states, spread at random, actions are sampled, and each valid one is followed by
rollouts of its own. The outcomes of an action's rollouts are backed up to it and no further, so the mean return of each
is what the policy makes of it. Outcomes are read: this measures, on tasks whose outcomes may be known.
"""

from __future__ import annotations

import random
from typing import ClassVar

from agentrm_tui.search.algorithm import Algorithm, Count
from agentrm_tui.search.asking import Asking, act, propose
from agentrm_tui.search.best_of_n import grow
from agentrm_tui.search.requests import Backpropagate, Choose, Search
from agentrm_tui.search.rollouts import roll_out
from agentrm_tui.search.tree import NodeId, Tree


class Siblings(Algorithm, frozen=True, kw_only=True, tag="siblings"):
    """What actions in the same state are worth.

    Attributes:
        states: States of the sampled trajectory in which actions are compared.
        candidates: Actions sampled in each of them.
        rollouts: Rollouts of each valid action.
    """

    summary: ClassVar[str] = "what actions in the same state are worth, by rollouts of each"

    states: Count = 1
    candidates: Count = 8
    rollouts: Count = 8

    @property
    def words(self) -> str:
        """For example `siblings, 8 candidates in 1 state, 8 rollouts each`."""
        places = f"{self.states} state{'s' * (self.states != 1)}"
        return f"siblings, {self.candidates} candidates in {places}, {self.rollouts} rollouts each"

    @property
    def needs_reward(self) -> bool:
        """Nothing is scored."""
        return False

    @property
    def samples(self) -> int:
        """An action's rollouts, or a state's candidates."""
        return max(self.candidates, self.rollouts)

    def start(self, tree: Tree) -> Search:
        """Begin."""
        return siblings(self, tree)


def siblings(settings: Siblings, tree: Tree) -> Search:
    """Sample a trajectory, compare actions in some of its states, and name its end the answer."""
    ends = yield from grow(tree, 1)
    if not ends:
        return
    places = _places(tree, ends[0], settings.states)
    children = yield from propose(tree, places, [settings.candidates] * len(places))
    yield from act(tree, [child.node for found in children for child in found])
    for found in children:
        yield from _compare(settings, tree, [child.node for child in found if tree[child.node].valid])
    yield Choose(ends[0], final=True)


def _places(tree: Tree, end: NodeId, count: int) -> list[NodeId]:
    """States of a trajectory in which something can be done, in its order; the task decides which."""
    nodes = [node.id for node in tree.path(end) if not node.done]
    chosen = random.Random(tree.root.observation).sample(range(len(nodes)), min(count, len(nodes)))
    return [nodes[place] for place in sorted(chosen)]


def _compare(settings: Siblings, tree: Tree, actions: list[NodeId]) -> Asking[None]:
    """Roll out the actions of one state, where there are at least two, and back up what becomes of each."""
    if len(actions) < 2:
        return
    depth = tree[actions[0]].depth
    for end in (yield from roll_out(tree, dict.fromkeys(actions, settings.rollouts))):
        path = tuple(node.id for node in tree.path(end)[depth:])
        yield Backpropagate(path, (tree[end].outcome or 0.0,) * len(path))
