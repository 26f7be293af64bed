"""The search map's layout: an icicle in cells, of which only those that can be seen are made.

A line is a step. A cell's width is its share of what went through its parent: visits where the search counts them
(MCTS), samples otherwise. Cells that would be narrower than one column are merged and say how many they stand for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf, isfinite
from typing import NamedTuple

from agentrm_models.terminal_text import one_line
from agentrm_tui.search.tree import Node, NodeId, Tree
from agentrm_tui.ui.views import EpisodeView, Mark, ValueRange, mark_of

UNVISITED = 0.25
"""What a proposed node weighs beside visited ones, in visits."""


class MapCell(NamedTuple):
    """One cell of the map, with all that its look depends on.

    Attributes:
        node: The node; of several merged ones the one that comes first.
        merged: Nodes that this cell stands for.
        left, width: In columns.
        value: The number of its colour: the mean return where the search backs returns up, else the reward.
        shared: Characters at the beginning of its action that all its siblings have too.
    """

    node: NodeId
    merged: int
    left: int
    width: int
    mark: Mark
    value: float | None
    done: bool
    outcome: float | None
    shared: int


class SearchMap(NamedTuple):
    """The lines of a map, from its top node down; `scale` spans the values of the whole tree."""

    rows: tuple[tuple[MapCell, ...], ...]
    scale: ValueRange

    def find(self, node: NodeId) -> tuple[int, int] | None:
        """Line and place in it of a node's cell; None where it has none of its own."""
        for line, row in enumerate(self.rows):
            for place, cell in enumerate(row):
                if cell.node == node:
                    return line, place
        return None

    def nearest(self, tree: Tree, node: NodeId) -> tuple[int, int]:
        """The cell of a node, or of the nearest node above it that has one."""
        for above in reversed(tree.path(node)):
            found = self.find(above.id)
            if found is not None:
                return found
        return 0, 0


def weigh(tree: Tree) -> dict[NodeId, float]:
    """How much went through each node: visits, or samples where nothing was visited.

    Samples below a node count too, so that what a beam went on with is wider than what it cut.
    """
    if any(node.visits for node in tree):
        return {node.id: float(node.visits) or UNVISITED for node in tree}
    weights: dict[NodeId, float] = {}
    for node in reversed(tree.nodes.values()):
        below = sum(weights[child] for child in node.children)
        weights[node.id] = max(float(node.samples) if node.parent is not None else 1.0, below)
    return weights


def value_of(node: Node, visited: bool) -> float | None:
    """The number that a cell's colour shows."""
    value = node.mean_return if visited else node.reward_value
    return value if value is not None and isfinite(value) else None


def lay_out(view: EpisodeView, weights: Mapping[NodeId, float], top: NodeId, width: int) -> SearchMap:
    """Lay out the subtree of a node over so many columns.

    Children stand in the order in which they were made, the chosen one first and those that were cut last.

    Args:
        weights: As `weigh` gives them.
    """
    tree, visited = view.tree, "visits" in view.numbers
    rows: list[tuple[MapCell, ...]] = []
    line = [_cell(view, tree[top], 1, (0, width), visited, 0)]
    while line:
        rows.append(tuple(line))
        line = [cell for above in line for cell in _below(view, weights, above, visited)]
    return SearchMap(tuple(rows), _scale(tree, visited))


def columns(weights: Sequence[float], width: int) -> list[int]:
    """Share out columns by weight, at least one for each; there are as many columns as weights or more."""
    total = sum(weights)
    spare = width - len(weights)
    shares = [weight / total * width for weight in weights]
    wanted = [max(0.0, share - 1.0) for share in shares]
    factor = spare / sum(wanted) if sum(wanted) else 0.0
    given = [1 + int(more * factor) for more in wanted]
    rests = sorted(range(len(given)), key=lambda place: (-(wanted[place] * factor % 1.0), place))
    for place in rests[: width - sum(given)]:
        given[place] += 1
    given[0] += width - sum(given)
    return given


def _below(view: EpisodeView, weights: Mapping[NodeId, float], above: MapCell, visited: bool) -> list[MapCell]:
    """The cells of a cell's children."""
    children = sorted(view.tree.children(above.node), key=lambda node: _place(node, view.chosen))
    if not children:
        return []
    shown, left = children[: above.width], above.left
    hidden = len(children) - len(shown)
    heavy = [weights[node.id] for node in shown]
    heavy[-1] += sum(weights[node.id] for node in children[len(shown) :])
    shared = _shared(children)
    cells = []
    for place, (node, width) in enumerate(zip(shown, columns(heavy, above.width), strict=True)):
        merged = 1 + hidden * (place == len(shown) - 1)
        cells.append(_cell(view, node, merged, (left, width), visited, shared))
        left += width
    return cells


def _cell(view: EpisodeView, node: Node, merged: int, span: tuple[int, int], visited: bool, shared: int) -> MapCell:
    left, width = span
    value, mark = value_of(node, visited), mark_of(node, view.chosen)
    return MapCell(node.id, merged, left, width, mark, value, node.done, node.outcome, shared)


def _place(node: Node, chosen: Collection[NodeId]) -> tuple[bool, bool, int]:
    return node.id not in chosen, bool(node.pruned), int(node.id.rpartition(".")[2])


def _shared(children: Sequence[Node]) -> int:
    """How many characters all siblings' actions begin with, up to the last word that they share."""
    if len(children) < 2:
        return 0
    actions = [one_line(node.action) for node in children]
    first, last = min(actions), max(actions)
    differ = (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    common = first[: next(differ, min(len(first), len(last)))]
    return max(common.rfind(" "), common.rfind("("), common.rfind("["), common.rfind('"')) + 1


def _scale(tree: Tree, visited: bool) -> ValueRange:
    """From the worst to the best value of the tree."""
    low, high = inf, -inf
    for node in tree:
        value = value_of(node, visited)
        if value is not None:
            low, high = min(low, value), max(high, value)
    return ValueRange(low, high) if low <= high else ValueRange()
