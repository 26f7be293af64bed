"""In which groups and passes the new tokens of a trie are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentrm_models.trie.token_trie import Slots, TrieNode

GROUP_TOKENS = 128
"""Tokens of an attention group with several branches: larger ones waste more on branches that do not see each other
than they gain by their size (measured on a CPU: 64 to 132 tokens are 2.3 times faster than 822)."""
FORWARD_TOKENS = 4_096
"""Rows of one forward pass at most, which bounds the memory of its activations."""


class Group(NamedTuple):
    """New nodes below one node; each sees its own ancestors only.

    Attributes:
        attach: The node they hang from, which is computed before or in the same pass (or the root).
        nodes: Parents before children.
    """

    attach: TrieNode
    nodes: list[TrieNode]

    @property
    def tokens(self) -> int:
        """New tokens of the group."""
        return sum(len(node.ids) for node in self.nodes)

    def slots(self) -> Slots:
        """The slots of the new tokens, in order."""
        return np.concatenate([node.slots for node in self.nodes])

    def mask(self) -> NDArray[np.bool_] | None:
        """Which of (history + new tokens) each new token sees; None for a plain text without history."""
        history, tokens = self.attach.end, self.tokens
        if history == 0 and all(
            below.parent is above for above, below in zip(self.nodes, self.nodes[1:], strict=False)
        ):
            return None
        mask = np.zeros((tokens, history + tokens), np.bool_)
        mask[:, :history] = True
        row = 0
        first: dict[int, int] = {}
        for node in self.nodes:
            rows = slice(row, row + len(node.ids))
            first[id(node)] = row
            if node.parent is not self.attach:
                above = first[id(node.parent)]
                last_of_parent = above + len(node.parent.ids) - 1 if node.parent else above
                mask[rows, history:] = mask[last_of_parent, history:]
            mask[rows, history + row : history + rows.stop] = np.tri(len(node.ids), dtype=np.bool_)
            row = rows.stop
        return mask


def forward_passes(unfinished: Sequence[TrieNode]) -> list[list[Group]]:
    """Cut unfinished nodes into groups, and groups into forward passes.

    A subtree of at most `GROUP_TOKENS` shares a group with its neighbours below the same node; of a larger one the top
    node is a group, and so are its children below it. Every layer stores the keys and values of a whole pass before any
    group attends, so a group may hang from a node of the same pass or an earlier one.
    """
    known = {id(node) for node in unfinished}
    below: dict[int, list[TrieNode]] = {}
    parents: dict[int, TrieNode] = {}
    for node in unfinished:
        assert node.parent is not None
        below.setdefault(id(node.parent), []).append(node)
        parents[id(node.parent)] = node.parent
    sizes = _subtree_sizes(unfinished, below)
    waiting = deque(parent for key, parent in parents.items() if key not in known)
    groups: list[Group] = []
    while waiting:
        attach = waiting.popleft()
        bundle, size = Group(attach, []), 0
        for node in below[id(attach)]:
            large = sizes[id(node)] > GROUP_TOKENS and id(node) in below
            tokens = len(node.ids) if large else sizes[id(node)]
            if bundle.nodes and size + tokens > GROUP_TOKENS:
                groups.append(bundle)
                bundle, size = Group(attach, []), 0
            size += tokens
            bundle.nodes.extend([node] if large else _subtree(node, below))
            if large:
                waiting.append(node)
        groups.append(bundle)
    return _passes(groups)


def _subtree_sizes(unfinished: Sequence[TrieNode], below: dict[int, list[TrieNode]]) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for node in sorted(unfinished, key=lambda node: -node.start):
        sizes[id(node)] = len(node.ids) + sum(sizes[id(child)] for child in below.get(id(node), ()))
    return sizes


def _subtree(top: TrieNode, below: dict[int, list[TrieNode]]) -> list[TrieNode]:
    found, stack = [], [top]
    while stack:
        node = stack.pop()
        found.append(node)
        stack.extend(reversed(below.get(id(node), ())))
    return found


def _passes(groups: list[Group]) -> list[list[Group]]:
    passes: list[list[Group]] = []
    size = 0
    for group in groups:
        tokens = group.tokens
        if not passes or size + tokens > FORWARD_TOKENS:
            passes.append([])
            size = 0
        passes[-1].append(group)
        size += tokens
    return passes
