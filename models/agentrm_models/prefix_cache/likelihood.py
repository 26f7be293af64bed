"""How likely a model finds tokens that it has read, kept in the trie where it was wanted.

A token's log-probability is taken relative to what the model expects of any token there: plus the entropy of its
prediction, so that 0 is as expected and a guess among many is not held against a token. It comes from the output at
the token before it. Where that output is gone (only keys and values are kept) the token before goes through the layers
again; in a search it never is, as a reply and what it follows are new in the same pass, or were wanted before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agentrm_models.prefix_cache.states import Span
from agentrm_models.prefix_cache.token_trie import TokenTrie, TrieNode

if TYPE_CHECKING:
    from torch import Tensor

ROWS_AT_ONCE = 512
"""Rows of outputs over the whole vocabulary that are held at a time."""


class Reading(NamedTuple):
    """A token whose likelihood is wanted and not known, and the token before it.

    Attributes:
        node, offset: Where the token lies.
        before, row: The node of the token before it, and that token's place there.
    """

    node: TrieNode
    offset: int
    before: TrieNode
    row: int


def unread(end: TrieNode, span: Span) -> Iterator[Reading]:
    """The tokens of a span, in the sequence that ends at a node, whose likelihood is not known."""
    for node in end.path():
        for offset in range(max(span.start - node.start, 0), min(span.stop, node.end) - node.start):
            if node.logs is not None and not np.isnan(node.logs[offset]):
                continue
            assert node.parent is not None
            inside = offset > 0
            yield Reading(node, offset, node if inside else node.parent, (offset or len(node.parent.ids)) - 1)


def compute_again(trie: TokenTrie, end: TrieNode, span: Span) -> None:
    """Mark the tokens whose outputs are needed for a span and gone."""
    ranges: dict[int, tuple[TrieNode, int, int]] = {}
    for reading in unread(end, span):
        if reading.before.state == "ready":
            _, first, _ = ranges.get(id(reading.before), (reading.before, reading.row, 0))
            ranges[id(reading.before)] = (reading.before, first, reading.row + 1)
    for node, first, stop in ranges.values():
        part = trie.split(node, stop) if stop < len(node.ids) else node
        if first > 0:
            trie.split(part, first)
        part.state = "again"


def read(
    order: Sequence[TrieNode], hidden: Tensor, readings: Sequence[Reading], head: Callable[[Tensor], Tensor]
) -> None:
    """Write down what a pass tells.

    Args:
        order: The nodes of the pass.
        hidden: Their last hidden states (tokens, width), in order.
        readings: What is wanted; those that hang on another pass are left alone.
        head: Hidden states to outputs over the vocabulary.
    """
    import torch

    first, row = {}, 0
    for node in order:
        first[id(node)] = row
        row += len(node.ids)
    told = [reading for reading in readings if id(reading.before) in first]
    for begin in range(0, len(told), ROWS_AT_ONCE):
        part = told[begin : begin + ROWS_AT_ONCE]
        rows = torch.tensor([first[id(reading.before)] + reading.row for reading in part], device=hidden.device)
        tokens = torch.tensor([reading.node.ids[reading.offset] for reading in part], device=hidden.device)
        for reading, value in zip(part, relative_likelihoods(hidden[rows], tokens, head).tolist(), strict=True):
            if reading.node.logs is None:
                reading.node.logs = np.full(len(reading.node.ids), np.nan, np.float32)
            reading.node.logs[reading.offset] = value


def relative_likelihoods(hidden: Tensor, tokens: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    """Log-probability of each token after the hidden state before it, plus the entropy of that prediction, in nats.

    Args:
        hidden: (rows, width).
        tokens: (rows,).

    Returns:
        (rows,), float32.
    """
    import torch

    with torch.inference_mode():
        logs = head(hidden).float().log_softmax(-1)
        return logs.gather(1, tokens[:, None])[:, 0] - (logs.exp() * logs).sum(-1)


def least_likelihood(end: TrieNode, span: Span) -> float:
    """The least over the tokens of a span that was read; 0 where it is empty."""
    found: list[float] = []
    for node in end.path():
        first, stop = max(span.start - node.start, 0), min(span.stop, node.end) - node.start
        if first < stop:
            assert node.logs is not None
            found += node.logs[first:stop].tolist()
    return min(found, default=0.0)
