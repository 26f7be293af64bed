"""Trees as packed training batches: every distinct token of a tree is computed once, whatever the number of labels.

The states of a tree are sequences that share prefixes. Sorted by their ids they are visited in depth-first order of
their token trie, so each adds only the tokens after its longest common prefix with the one before. Queries attend to
the tokens of their own path (see `packed_attention`). Gradients are those of one row for each state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agentrm_models.trie.packed_attention import Forest, QueryBlocks

BLOCK = 64
"""Queries of one attention block."""

KEY_STEP = 128
"""Blocks whose key counts fall into the same multiple of this are computed together."""


class LabelledIds(NamedTuple):
    """One labelled state as token ids.

    Attributes:
        ids: Shape (length,), int32; the last token is the one that is judged.
        siblings: Number shared by states that differ in their last action only; unique over the data set.
        reply: How many of the last tokens are the judged reply.
        closing: How many of these the chat template puts after the end of the turn.
        best: The reply is as good as the best of at least two siblings, and worth something.
        turns: Where the replies of the whole path lie, as (first, one after the last), where they are wanted.
    """

    ids: NDArray[np.int32]
    target: float
    weight: float
    siblings: int
    reply: int = 1
    closing: int = 0
    best: bool = False
    turns: tuple[tuple[int, int], ...] = ()


class Piece(NamedTuple):
    """States that are laid out together: a tree, or a part of one with its trunk.

    Attributes:
        items: Sorted by their ids.
        tokens: Distinct tokens of their trie.
    """

    items: tuple[LabelledIds, ...]
    tokens: int


class Words(NamedTuple):
    """The tokens of the judged replies as a language model writes them, shapes (words,).

    Attributes:
        before: Index of the token before each.
        ids: The tokens.
        owners: The state whose reply each is of.
    """

    before: Tensor
    ids: Tensor
    owners: Tensor


class Turns(NamedTuple):
    """All replies on the ways to the states, as predictions.

    Attributes:
        before, ids: As in `Words`, shapes (words,).
        steps: The reply that each word is of, shape (words,).
        states: The state that each reply leads to, shape (replies,), not decreasing.
    """

    before: Tensor
    ids: Tensor
    steps: Tensor
    states: Tensor


class PackedTrees(NamedTuple):
    """A batch: one row of tokens, and where its states end.

    Attributes:
        ids, positions: Shape (tokens,), int64.
        forest: Which token attends to which.
        ends: Index of each state's last token, shape (states,).
        targets, weights: Shape (states,), float32.
        replies: Index of each token of each judged reply, shape (reply tokens,); siblings share the beginnings.
        owners: The state that each of these is of, shape (reply tokens,).
        shares: One over the length of that state's reply, shape (reply tokens,), float32.
        pairs: States that are siblings and differ in target, the better one first, shape (pairs, 2).
        words: The same replies without what the template adds, as predictions.
        best: Whether a state's reply is among the best of siblings, shape (states,), bool.
        turns: The replies on the ways to the states, where these name them.
    """

    ids: Tensor
    positions: Tensor
    forest: Forest
    ends: Tensor
    targets: Tensor
    weights: Tensor
    replies: Tensor
    owners: Tensor
    shares: Tensor
    pairs: Tensor
    words: Words
    best: Tensor
    turns: Turns


def cut_tree(items: Sequence[LabelledIds], limit: int) -> Iterator[Piece]:
    """Cut a tree into pieces of at most `limit` distinct tokens where possible, each repeating its trunk."""
    ordered = sorted(items, key=lambda item: item.ids.astype(">i4").tobytes())
    piece: list[LabelledIds] = []
    tokens = 0
    for item in ordered:
        new = len(item.ids) - (_common(piece[-1].ids, item.ids) if piece else 0)
        if piece and tokens + new > limit:
            yield Piece(tuple(piece), tokens)
            piece, tokens, new = [], 0, len(item.ids)
        piece.append(item)
        tokens += new
    if piece:
        yield Piece(tuple(piece), tokens)


def _common(one: NDArray[np.int32], other: NDArray[np.int32]) -> int:
    """Length of the longest common prefix."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length


class _Block(NamedTuple):
    start: int
    stop: int
    path: NDArray[np.int64]


def pack_pieces(pieces: Sequence[Piece], least_difference: float = 0.1) -> PackedTrees:
    """Lay pieces end to end.

    Args:
        least_difference: Of the targets of two siblings that make a ranking pair.
    """
    ids: list[NDArray[np.int32]] = []
    positions: list[NDArray[np.int64]] = []
    blocks: list[_Block] = []
    ends: list[int] = []
    replies: list[NDArray[np.int64]] = []
    before_words: list[NDArray[np.int64]] = []
    words: list[NDArray[np.int32]] = []
    turns = _TurnList([], [], [])
    total = 0
    for piece in pieces:
        path, before = np.zeros(0, np.int64), np.zeros(0, np.int32)
        for item in piece.items:
            shared = _common(before, item.ids)
            fresh = len(item.ids) - shared
            path = np.concatenate([path[:shared], np.arange(total, total + fresh)])
            if fresh:
                ids.append(item.ids[shared:])
                positions.append(np.arange(shared, len(item.ids)))
                blocks += _blocks(path, shared)
                total += fresh
            ends.append(int(path[-1]))
            replies.append(path[-item.reply :])
            start, stop = max(len(path) - item.reply, 1), max(len(path) - item.closing, 1)
            before_words.append(path[start - 1 : stop - 1])
            words.append(item.ids[start:stop])
            turns.add(item, path, len(ends) - 1)
            before = item.ids
    items = [item for piece in pieces for item in piece.items]
    states = torch.arange(len(items))
    lengths, spoken = (torch.tensor([len(part) for part in parts]) for parts in (replies, words))
    return PackedTrees(
        torch.from_numpy(np.concatenate(ids)).long(),
        torch.from_numpy(np.concatenate(positions)),
        _forest(blocks, total),
        torch.tensor(ends),
        torch.tensor([item.target for item in items]),
        torch.tensor([item.weight for item in items]),
        torch.from_numpy(np.concatenate(replies)),
        states.repeat_interleave(lengths),
        (1 / lengths).repeat_interleave(lengths),
        _pairs(items, least_difference),
        Words(
            torch.from_numpy(np.concatenate(before_words)),
            torch.from_numpy(np.concatenate(words)).long(),
            states.repeat_interleave(spoken),
        ),
        torch.tensor([item.best for item in items]),
        turns.tensors(),
    )


class _TurnList(NamedTuple):
    before: list[NDArray[np.int64]]
    ids: list[NDArray[np.int32]]
    states: list[int]

    def add(self, item: LabelledIds, path: NDArray[np.int64], state: int) -> None:
        for start, stop in item.turns:
            self.before.append(path[start - 1 : stop - 1])
            self.ids.append(item.ids[start:stop])
            self.states.append(state)

    def tensors(self) -> Turns:
        return Turns(
            torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *self.before])),
            torch.from_numpy(np.concatenate([np.zeros(0, np.int32), *self.ids])).long(),
            torch.arange(len(self.ids)).repeat_interleave(torch.tensor([len(part) for part in self.ids]).long()),
            torch.tensor(self.states).long(),
        )


def _blocks(path: NDArray[np.int64], shared: int) -> Iterator[_Block]:
    """Cut the new tokens of a path into query blocks; each block's path ends with its last query."""
    for start in range(shared, len(path), BLOCK):
        stop = min(start + BLOCK, len(path))
        yield _Block(start, stop, path[:stop])


def _forest(blocks: Sequence[_Block], total: int) -> Forest:
    groups: dict[tuple[int, bool], list[_Block]] = {}
    for block in blocks:
        wide = block.stop - block.start > BLOCK // 2
        groups.setdefault((-(-len(block.path) // KEY_STEP), wide), []).append(block)
    order = np.zeros(total, np.int64)
    laid, row = [], 0
    for _, members in sorted(groups.items()):
        longest = max(block.stop - block.start for block in members)
        for number, block in enumerate(members):
            length = block.stop - block.start
            order[block.path[block.start :]] = row + number * longest + np.arange(length)
        laid.append(_lay(members, longest))
        row += longest * len(members)
    return Forest(laid, torch.from_numpy(order))


def _lay(members: Sequence[_Block], longest: int) -> QueryBlocks:
    """Pad blocks to a rectangle; padded queries read their first key, so that no row of the mask is empty."""
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


def _pairs(items: Sequence[LabelledIds], least_difference: float) -> Tensor:
    by_parent: dict[int, list[int]] = {}
    for index, item in enumerate(items):
        by_parent.setdefault(item.siblings, []).append(index)
    pairs = [
        (one, other) if items[one].target > items[other].target else (other, one)
        for family in by_parent.values()
        for at, one in enumerate(family)
        for other in family[at + 1 :]
        if abs(items[one].target - items[other].target) >= least_difference
    ]
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)


def batches(pieces: Sequence[Piece], tokens: int, order: Sequence[int]) -> Iterator[list[Piece]]:
    """Go through the pieces in this order, in batches of about so many tokens."""
    batch: list[Piece] = []
    total = 0
    for index in order:
        piece = pieces[index]
        if batch and total + piece.tokens > tokens:
            yield batch
            batch, total = [], 0
        batch.append(piece)
        total += piece.tokens
    if batch:
        yield batch
