"""Token sequences that share beginnings, laid end to end: every distinct token of a tree is there once.

Sorted by their ids, sequences are visited in depth-first order of their token trie, so each adds only the tokens after
its longest common prefix with the one before. What the sequences are labelled with is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentrm_models.trie.token_trie import common_prefix

if TYPE_CHECKING:
    from torch import Tensor


class PackedTokens(NamedTuple):
    """Sequences in the order of their tries, one trie after the other.

    Attributes:
        ids: The distinct tokens, shape (tokens,), int64.
        lengths: Of each sequence, shape (sequences,), int64.
        shared: How many of its first tokens each sequence shares with the one before, shape (sequences,), int64; 0
            begins a new trie.
    """

    ids: Tensor
    lengths: Tensor
    shared: Tensor

    @property
    def ends(self) -> Tensor:
        """The row of each sequence's last token, shape (sequences,)."""
        return (self.lengths - self.shared).cumsum(0) - 1

    @property
    def positions(self) -> Tensor:
        """The position of each token in its sequence, shape (tokens,)."""
        import torch

        fresh = self.lengths - self.shared
        before_first = fresh.cumsum(0) - fresh - self.shared
        return torch.arange(len(self.ids)) - before_first.repeat_interleave(fresh)

    def paths(self) -> Iterator[NDArray[np.int64]]:
        """The rows of each sequence's tokens, in order."""
        path, row = np.zeros(0, np.int64), 0
        for length, shared in zip(self.lengths.tolist(), self.shared.tolist(), strict=True):
            path = np.concatenate([path[:shared], np.arange(row, row + length - shared)])
            row += length - shared
            yield path


class Part(NamedTuple):
    """Sequences that were packed together.

    Attributes:
        members: Which sequences they are, in the order of the trie.
    """

    members: list[int]
    tokens: PackedTokens


def pack_sequences(sequences: Sequence[Sequence[int]], limit: int) -> Iterator[Part]:
    """Pack sequences into parts of at most `limit` distinct tokens where possible, each repeating its trunk."""
    known = [tuple(ids) for ids in sequences]
    members: list[int] = []
    shared: list[int] = []
    tokens = 0
    for index in sorted(range(len(known)), key=known.__getitem__):
        length, stem = len(known[index]), common_prefix(known[members[-1]], known[index]) if members else 0
        if members and tokens + length - stem > limit:
            yield _part(known, members, shared)
            members, shared, tokens, stem = [], [], 0, 0
        members.append(index)
        shared.append(stem)
        tokens += length - stem
    if members:
        yield _part(known, members, shared)


def _part(known: Sequence[tuple[int, ...]], members: list[int], shared: list[int]) -> Part:
    import torch

    ids = [token for index, stem in zip(members, shared, strict=True) for token in known[index][stem:]]
    lengths = torch.tensor([len(known[index]) for index in members])
    return Part(members, PackedTokens(torch.tensor(ids), lengths, torch.tensor(shared)))


def join_tokens(packs: Sequence[PackedTokens]) -> PackedTokens:
    """Lay packs end to end."""
    import torch

    return PackedTokens(*(torch.cat(columns) for columns in zip(*packs, strict=True)))
