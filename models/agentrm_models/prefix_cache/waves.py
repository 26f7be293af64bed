"""In which order the new tokens of a trie are computed: whole subtrees at once, large ones level by level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentrm_models.prefix_cache.token_trie import Slots, TrieNode

GROUP_TOKENS = 1_024
"""Tokens of one attention group at most: its mask is (tokens, history + tokens)."""
FORWARD_TOKENS = 4_096
"""Rows of one forward pass at most, which bounds the memory of its activations."""


class Group(NamedTuple):
    """New nodes below one computed node; each sees its own ancestors only.

    Attributes:
        attach: The computed node they hang from (or the root).
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
    """Cut unfinished nodes into forward passes, so that every history is computed before what follows it.

    A subtree of at most `GROUP_TOKENS` is one group; of a larger one the top node comes first and its children in a
    later pass.
    """
    below: dict[int, list[TrieNode]] = {}
    tops: dict[int, tuple[TrieNode, list[TrieNode]]] = {}
    for node in unfinished:
        assert node.parent is not None
        if node.parent.state == "ready":
            tops.setdefault(id(node.parent), (node.parent, []))[1].append(node)
        else:
            below.setdefault(id(node.parent), []).append(node)
    sizes = _subtree_sizes(unfinished, below)
    waves: list[list[Group]] = []
    stack = [(attach, nodes, 0) for attach, nodes in tops.values()]
    while stack:
        attach, nodes, depth = stack.pop()
        while len(waves) <= depth:
            waves.append([])
        bundle, size = Group(attach, []), 0
        for node in nodes:
            large = sizes[id(node)] > GROUP_TOKENS and id(node) in below
            tokens = len(node.ids) if large else sizes[id(node)]
            if bundle.nodes and size + tokens > GROUP_TOKENS:
                waves[depth].append(bundle)
                bundle, size = Group(attach, []), 0
            size += tokens
            bundle.nodes.extend([node] if large else _subtree(node, below))
            if large:
                stack.append((node, below[id(node)], depth + 1))
        waves[depth].append(bundle)
    return [batch for wave in waves for batch in _batches(wave)]


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


def _batches(groups: list[Group]) -> list[list[Group]]:
    batches: list[list[Group]] = []
    size = 0
    for group in groups:
        if not batches or size + group.tokens > FORWARD_TOKENS:
            batches.append([])
            size = 0
        batches[-1].append(group)
        size += group.tokens
    return batches
