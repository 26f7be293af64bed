"""Greedy decoding: the likeliest reply at every step; the baseline of every table."""

from __future__ import annotations

from typing import ClassVar

from agentrm_tui.search.algorithm import Algorithm
from agentrm_tui.search.asking import act, propose
from agentrm_tui.search.requests import Choose, Search
from agentrm_tui.search.tree import ROOT, Tree


class Greedy(Algorithm, frozen=True, kw_only=True, tag="greedy"):
    """The likeliest reply at every step."""

    summary: ClassVar[str] = "the likeliest reply at every step"

    @property
    def needs_reward(self) -> bool:
        """Nothing is scored."""
        return False

    def start(self, tree: Tree) -> Search:
        """Begin."""
        return greedy(tree)


def greedy(tree: Tree) -> Search:
    """Propose one reply at temperature 0, act, name it the answer so far, until the episode is done."""
    node = ROOT
    while not tree[node].done:
        [children] = yield from propose(tree, [node], [1], temperature=0.0)
        if not children:
            break
        node = children[0].node
        yield from act(tree, [node])
        yield Choose(node, final=tree[node].done)
