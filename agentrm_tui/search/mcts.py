"""Monte-Carlo tree search, in two forms that share selection.

*Exploring* (`leaf=rollout`, training tasks only) reads outcomes: an iteration selects a leaf, expands it with k sampled
actions if it was visited before, plays the first unvisited child to the end (several rollouts in lock-step) and backs
up each rollout's outcome along its whole path, rollout nodes included: their statistics are kept and count when a later
expansion samples the same action. So a node's visits are the sum of its children's plus the rollouts that ended at it.

*Playing* (`leaf=reward`) never reads an outcome: an iteration selects a leaf, acts it, expands it with k actions,
scores them in one request and backs up each one's `reward_value`: one visit is one judgement. At each step of play the
subtree under the current node is searched until it holds `iterations` expansions, inherited ones included; then the
most visited child is played.

Source: AgentRM, exploration (UCB = Q + c·sqrt(ln N_parent / N)); k, depth and discount are options there.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from agentrm_tui.search.algorithm import Algorithm, Count, CountOrNone, NotNegative, Share
from agentrm_tui.search.asking import Asking, Sampled, act, propose, score, value
from agentrm_tui.search.requests import Backpropagate, Choose, Search
from agentrm_tui.search.rollouts import roll_out
from agentrm_tui.search.tree import ROOT, Node, NodeId, Tree


class MCTS(Algorithm, frozen=True, kw_only=True, tag="mcts"):
    """Monte-Carlo tree search.

    Attributes:
        iterations: Iterations at most, of each step of play (paper: 40).
        branching: k, actions sampled at each expansion.
        simulations: Rollouts of each expanded node (paper: 1).
        exploration: c of UCB (paper's worked example: 0.5).
        depth: Deepest node that is expanded; 0 is no limit but the episode's.
        discount: Factor of a backed-up return for each step.
        leaf: What values a leaf; rollout reads outcomes (exploring, training tasks only), reward does not.
        share_states: Nodes of equal environment state and steps left share their statistics.
    """

    summary: ClassVar[str] = "Monte-Carlo tree search: visits go where returns or rewards are high"
    compares_requests: ClassVar[bool] = True

    iterations: Count = 40
    branching: Count = 5
    simulations: Count = 1
    exploration: NotNegative = 0.5
    depth: CountOrNone = 0
    discount: Share = 1.0
    leaf: Literal["rollout", "reward"] = "reward"
    share_states: bool = False

    @property
    def words(self) -> str:
        """For example `mcts 40x5`: iterations x branching."""
        return f"mcts {self.iterations}x{self.branching}" + (", exploring" if self.leaf == "rollout" else "")

    @property
    def needs_reward(self) -> bool:
        """Exploring reads outcomes instead."""
        return self.leaf == "reward"

    @property
    def samples(self) -> int:
        """An expansion's actions, or the rollouts from a leaf."""
        return max(self.branching, self.simulations if self.leaf == "rollout" else 1)

    @property
    def merges_states(self) -> bool:
        """Where it is asked for."""
        return self.share_states

    def start(self, tree: Tree) -> Search:
        """Begin."""
        return exploring_mcts(self, tree) if self.leaf == "rollout" else playing_mcts(self, tree)


def exploring_mcts(settings: MCTS, tree: Tree) -> Search:
    """Run the iterations, then choose the end of the most visited path."""
    searcher = _Searcher(settings, tree)
    for _ in range(settings.iterations):
        leaf = yield from searcher.leaf_to_play(ROOT)
        yield from act(tree, [leaf])
        ends = yield from roll_out(tree, {leaf: settings.simulations})
        for end in ends:
            yield from searcher.back_up(end, tree[end].outcome or 0.0)
    node = ROOT
    while (following := searcher.most_visited(node)) is not None:
        node = following
    if node != ROOT:
        yield Choose(node, final=True)


def playing_mcts(settings: MCTS, tree: Tree) -> Search:
    """Search, play the most visited action, and go on from there with what was learned, until the episode is done."""
    searcher = _Searcher(settings, tree)
    node = ROOT
    while not tree[node].done:
        inherited = searcher.expansions_under(node)
        for _ in range(max(settings.iterations - inherited, 0 if inherited else 1)):
            yield from searcher.judge_a_leaf(node)
        following = searcher.most_visited(node)
        if following is None:
            break
        node = following
        yield from act(tree, [node])
        yield Choose(node, final=tree[node].done)


class _Searcher:
    """Selection, expansion and backing up over one tree."""

    def __init__(self, settings: MCTS, tree: Tree) -> None:
        self._settings = settings
        self._tree = tree
        self._expanded: dict[NodeId, None] = {}
        self._shared: dict[tuple[str, int], tuple[int, float]] = {}

    def leaf_to_play(self, root: NodeId) -> Asking[NodeId]:
        """Select a leaf; one that was visited before is expanded once, and its best child is the leaf."""
        leaf = self._select(root)
        if leaf == root or self._visits(self._tree[leaf]):
            children = yield from self._expand(root, leaf)
            if children:
                leaf = self._best_child(leaf)
        return leaf

    def judge_a_leaf(self, root: NodeId) -> Asking[None]:
        """Select a leaf, act it, expand it and back up its children's rewards, or its own where it has none."""
        leaf = self._select(root)
        if leaf != ROOT:
            yield from act(self._tree, [leaf])
        children = yield from self._expand(root, leaf)
        if children:
            yield from score([child.node for child in children])
            for child in children:
                yield from self.back_up(child.node, value(self._tree[child.node]))
        elif leaf != ROOT:
            yield from self.back_up(leaf, value(self._tree[leaf]))

    def back_up(self, end: NodeId, worth: float) -> Asking[None]:
        """Add a return, discounted by the steps that lie between, to every node from the root to `end`."""
        path = [node.id for node in self._tree.path(end)]
        last = len(path) - 1
        yield Backpropagate(tuple(path), tuple(worth * self._settings.discount ** (last - i) for i in range(len(path))))

    def most_visited(self, node: NodeId) -> NodeId | None:
        """The child that is played; None where none was visited."""
        best = self._tree.most_visited(node)
        return best.id if best else None

    def expansions_under(self, root: NodeId) -> int:
        """Number of expanded nodes in a subtree."""
        return sum(node == root or node.startswith(f"{root}.") for node in self._expanded)

    def _select(self, root: NodeId) -> NodeId:
        """Follow UCB down to a node that was not expanded or has no children."""
        self._shared = self._sum_by_state() if self._settings.share_states else {}
        node = root
        while node in self._expanded and self._tree[node].children:
            node = self._best_child(node)
        return node

    def _best_child(self, node: NodeId) -> NodeId:
        """The first unvisited child, or the one of highest UCB."""
        parent = max(self._visits(self._tree[node]), 1)
        return max(self._tree.children(node), key=lambda child: self._ucb(child, parent)).id

    def _ucb(self, node: Node, parent_visits: int) -> float:
        visits, total = self._statistics(node)
        if not visits:
            return math.inf
        return total / visits + self._settings.exploration * math.sqrt(math.log(parent_visits) / visits)

    def _expand(self, root: NodeId, leaf: NodeId) -> Asking[list[Sampled]]:
        """Sample k children of a leaf; none where it is done, was expanded before or lies too deep."""
        node, depth = self._tree[leaf], self._settings.depth
        if node.done or leaf in self._expanded or (depth and node.depth - self._tree[root].depth >= depth):
            return []
        self._expanded[leaf] = None
        [children] = yield from propose(self._tree, [leaf], [self._settings.branching])
        return children

    def _visits(self, node: Node) -> int:
        return self._statistics(node)[0]

    def _statistics(self, node: Node) -> tuple[int, float]:
        """Visits and sum of returns: of the node, or of all nodes of its environment state and depth.

        Equal depth in one episode means equal steps left.
        """
        own = node.visits, node.total_return
        return self._shared.get((node.state_key, node.depth), own) if node.state_key else own

    def _sum_by_state(self) -> dict[tuple[str, int], tuple[int, float]]:
        sums: dict[tuple[str, int], tuple[int, float]] = {}
        for node in self._tree:
            visits, total = sums.get((node.state_key, node.depth), (0, 0.0))
            sums[node.state_key, node.depth] = visits + node.visits, total + node.total_return
        return sums
