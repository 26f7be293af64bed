"""Which nodes of a search tree have a line on the screen: ten thousand nodes cost what is open, not what exists."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from typing import NamedTuple

from agentrm_tui.search.tree import Node, NodeId, Tree
from agentrm_tui.ui.views import EpisodeView, Mark, mark_of

OPEN_NODES = 150
"""Nodes opened by themselves at most; people may open more."""
CHILDREN_SHOWN = 200
"""Children of one node shown at most."""


class TreeRow(NamedTuple):
    """One line of the tree, with all that its text depends on: rows that are equal look the same.

    Attributes:
        guides: The lines that lead to it from its ancestors.
        opened: Whether its children have lines; None where it has none.
        best: On the best path.
        shown: The node whose path the other panes show.
    """

    node: NodeId
    guides: str
    opened: bool | None
    mark: Mark
    reward: float | None
    mean_return: float | None
    visits: int
    children: int
    done: bool
    best: bool
    shown: bool


def tree_rows(view: EpisodeView, top: NodeId, by_hand: Mapping[NodeId, bool]) -> list[TreeRow]:
    """The lines from a node downwards; `by_hand` tells which subtrees a person opened or closed."""
    main = {*view.best, *view.path}
    opened = _opened(view.tree, top, main, by_hand)
    rows: list[TreeRow] = []
    waiting: list[tuple[NodeId, str, str]] = [(top, "", "")]
    while waiting:
        node_id, guides, below = waiting.pop()
        item = view.tree[node_id]
        is_open = node_id in opened if item.children else None
        rows.append(_row(item, guides, is_open, view, main))
        if not is_open:
            continue
        last = len(item.children[:CHILDREN_SHOWN]) - 1
        for number in range(last, -1, -1):
            ends = number == last
            waiting.append((item.children[number], below + ("└ " if ends else "├ "), below + ("  " if ends else "│ ")))
    return rows


def first_node(view: EpisodeView, top: NodeId, levels: int) -> NodeId:
    """Where a tree of so many levels starts: at the root, or at a later step of a long path, moved on in hops."""
    path = view.path
    index = path.index(top) if top in path else -1
    if index >= 0 and len(path) - index <= levels:
        return top
    return path[max(0, len(path) + 2 - levels) if len(path) > levels else 0]


def _row(item: Node, guides: str, opened: bool | None, view: EpisodeView, main: Collection[NodeId]) -> TreeRow:
    return TreeRow(
        node=item.id,
        guides=guides,
        opened=opened,
        mark=mark_of(item, view.chosen),
        reward=item.reward_value,
        mean_return=item.mean_return,
        visits=item.visits,
        children=len(item.children),
        done=item.done,
        best=item.id in main and item.id in view.best,
        shown=item.id == view.focus,
    )


def _opened(tree: Tree, top: NodeId, main: Collection[NodeId], by_hand: Mapping[NodeId, bool]) -> set[NodeId]:
    """The shown paths and what is alive, level by level until there are enough; what was cut stays closed."""
    opened: set[NodeId] = set()
    shown = 0
    queue = deque([top])
    while queue:
        node_id = queue.popleft()
        item = tree[node_id]
        if not item.children:
            continue
        wanted = node_id == top or node_id in main or (shown <= OPEN_NODES and _alive(tree, item))
        if not by_hand.get(node_id, wanted):
            continue
        opened.add(node_id)
        children = item.children[:CHILDREN_SHOWN]
        shown += len(children)
        queue.extend(sorted(children, key=lambda child: child not in main))
    return opened


def _alive(tree: Tree, item: Node) -> bool:
    return not item.pruned and any(not tree[child].pruned for child in item.children[:CHILDREN_SHOWN])
