"""Step-level beam search W1×W2: sample W2 actions from each of W1 beams, score before acting, keep the best W1.

Source: AgentRM, test-time search (W1 = W2 = 5). The first round has one beam, the root, and samples W1×W2 from it, so
that every round has the same budget and the first action is selected too. Finished beams compete with the candidates
by their last `reward_value`. Ties are won by the node that was made first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from agentrm_tui.search.algorithm import Algorithm, Grid
from agentrm_tui.search.asking import Asking, act, propose, prune, score, value
from agentrm_tui.search.requests import Choose, Search
from agentrm_tui.search.tree import ROOT, NodeId, Tree


class Beam(Algorithm, frozen=True, kw_only=True, tag="beam"):
    """Step-level beam search.

    Attributes:
        beam: W1xW2: beams kept x actions sampled from each (paper: 5x5).
    """

    summary: ClassVar[str] = "the best few paths so far, scored before every action"

    beam: Grid = (5, 5)

    @property
    def words(self) -> str:
        """For example `beam 5x5`."""
        return f"beam {self.beam[0]}x{self.beam[1]}"

    @property
    def samples(self) -> int:
        """The first round samples for all beams from the root."""
        return self.beam[0] * self.beam[1]

    def start(self, tree: Tree) -> Search:
        """Begin."""
        return beam(self, tree)


def beam(settings: Beam, tree: Tree) -> Search:
    """Run until W1 beams have finished or no beam is left to go on from; then choose the best of them."""
    width, samples = settings.beam
    running, finished = [ROOT], list[NodeId]()
    while running and len(finished) < width:
        first_round = running == [ROOT]
        counts = [samples * (width if first_round else 1)] * len(running)
        children = yield from propose(tree, running, counts)
        candidates = [child.node for siblings in children for child in siblings]
        if not candidates:
            break
        kept = yield from _select(tree, finished, candidates, width)
        fresh = [node for node in kept if not tree[node].acted]
        yield from act(tree, fresh)
        finished = [node for node in kept if tree[node].done]
        running = [node for node in kept if not tree[node].done]
        if running:
            yield Choose(best(tree, kept))
    if finished or running != [ROOT]:
        yield Choose(best(tree, [*finished, *running]), final=True)


def _select(tree: Tree, finished: list[NodeId], candidates: list[NodeId], width: int) -> Asking[list[NodeId]]:
    """Score the candidates beside the finished beams and cut all but the best `width`; returns those kept."""
    competing = [*finished, *candidates]
    yield from score(competing)
    ranked = sorted(competing, key=lambda node: -value(tree[node]))
    cut = ranked[width:]
    cutoff = value(tree[ranked[min(width, len(ranked)) - 1]])
    really_cut = yield from prune(cut, "beam", [_margin(value(tree[node]), cutoff) for node in cut])
    return [node for node in competing if node not in really_cut]


def _margin(worth: float, cutoff: float) -> float:
    """How far a value lies below the worst one kept; NaN where it has none."""
    return worth - cutoff if math.isfinite(worth) else math.nan


def best(tree: Tree, nodes: Sequence[NodeId]) -> NodeId:
    """The node of highest `reward_value`; the first of them on ties."""
    return max(nodes, key=lambda node: value(tree[node]))
