"""The tokens of packed sequences as blocks of queries, each with the keys of its path gathered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentrm_models.trie.packing import PackedTokens

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 64
"""Queries of one attention block."""

KEY_STEP = 128
"""Blocks whose key counts fall into the same multiple of this are computed together."""


class QueryBlocks(NamedTuple):
    """Blocks of similar key counts.

    Attributes:
        queries: Row of each query, shape (blocks, longest block); padding repeats a valid row.
        keys: Row of each key, shape (blocks, longest path); padding repeats a valid row.
        mask: What a query may read, shape (blocks, 1, longest block, longest path).
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor


class BlockLayout(NamedTuple):
    """All blocks of some packed sequences.

    Attributes:
        blocks: Grouped by path length.
        order: For each token, its row in the concatenated flattened outputs of the blocks, shape (tokens,).
    """

    blocks: list[QueryBlocks]
    order: Tensor

    def to(self, device: Any) -> BlockLayout:
        """The same on another device."""
        blocks = [QueryBlocks(*(part.to(device) for part in block)) for block in self.blocks]
        return BlockLayout(blocks, self.order.to(device))


class _Block(NamedTuple):
    """Queries `start` … `stop` - 1 of a path, which ends with the last of them."""

    start: int
    stop: int
    path: NDArray[np.int64]


def lay_blocks(tokens: PackedTokens) -> BlockLayout:
    """Cut the new tokens of each sequence into query blocks, and group these by their number of keys."""
    import torch

    groups: dict[tuple[int, bool], list[_Block]] = {}
    for path, shared in zip(tokens.paths(), tokens.shared.tolist(), strict=True):
        for start in range(shared, len(path), BLOCK):
            stop = min(start + BLOCK, len(path))
            wide = stop - start > BLOCK // 2
            groups.setdefault((-(-stop // KEY_STEP), wide), []).append(_Block(start, stop, path[:stop]))
    order = np.zeros(len(tokens.ids), np.int64)
    laid, row = [], 0
    for _, members in sorted(groups.items()):
        longest = max(block.stop - block.start for block in members)
        for number, block in enumerate(members):
            length = block.stop - block.start
            order[block.path[block.start :]] = row + number * longest + np.arange(length)
        laid.append(_lay(members, longest))
        row += longest * len(members)
    return BlockLayout(laid, torch.from_numpy(order))


def _lay(members: Sequence[_Block], longest: int) -> QueryBlocks:
    """Pad blocks to a rectangle; padded queries read their first key, so that no row of the mask is empty."""
    import torch

    keys = np.zeros((len(members), max(len(block.path) for block in members)), np.int64)
    queries = np.zeros((len(members), longest), np.int64)
    last_key = np.zeros((len(members), longest), np.int64)
    for number, block in enumerate(members):
        keys[number] = block.path[0]
        queries[number] = block.path[-1]
        keys[number, : len(block.path)] = block.path
        queries[number, : block.stop - block.start] = block.path[block.start :]
        last_key[number, : block.stop - block.start] = np.arange(block.start, block.stop)
    mask = np.arange(keys.shape[1])[None, None, :] <= last_key[:, :, None]
    return QueryBlocks(torch.from_numpy(queries), torch.from_numpy(keys), torch.from_numpy(mask)[:, None])
