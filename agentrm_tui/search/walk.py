"""A walk: one sampled trajectory, with the other actions that were sampled shown beside each that was taken."""

from __future__ import annotations

from typing import ClassVar

from agentrm_tui.search.algorithm import Algorithm, Count
from agentrm_tui.search.asking import act, propose
from agentrm_tui.search.requests import Choose, Search
from agentrm_tui.search.tree import ROOT, Tree


class Walk(Algorithm, frozen=True, kw_only=True, tag="walk"):
    """One sampled trajectory that shows what else could have been done.

    Attributes:
        candidates: Actions sampled at each step, of which the first is taken.
    """

    summary: ClassVar[str] = "one sampled trajectory, with other samples beside each action"

    candidates: Count = 5

    @property
    def words(self) -> str:
        """For example `walk, 5 candidates`."""
        return f"walk, {self.candidates} candidates"

    @property
    def needs_reward(self) -> bool:
        """Nothing is scored."""
        return False

    @property
    def samples(self) -> int:
        """The candidates of a step."""
        return self.candidates

    def start(self, tree: Tree) -> Search:
        """Begin."""
        return walk(self, tree)


def walk(settings: Walk, tree: Tree) -> Search:
    """Sample candidates, take the first, name it the answer so far, until the episode is done."""
    node = ROOT
    while not tree[node].done:
        [children] = yield from propose(tree, [node], [settings.candidates])
        if not children:
            break
        node = children[0].node
        yield from act(tree, [node])
        yield Choose(node, final=tree[node].done)
