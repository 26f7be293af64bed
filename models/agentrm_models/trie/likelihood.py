"""How likely a model finds tokens that it has read, kept in the trie where it was wanted.

It comes from the output at the token before. Where that output is gone (only keys and values are kept) the token
before goes through the layers again; in a search it never is, as a reply and what it follows are new in the same pass,
or were wanted before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agentrm_models.trie.states import Span, TokenLogs
from agentrm_models.trie.token_trie import TokenTrie, TrieNode

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
            if node.logs is not None and not np.isnan(node.logs[offset, 0]):
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
        for reading, value in zip(part, token_logs(hidden[rows], tokens, head), strict=True):
            if reading.node.logs is None:
                reading.node.logs = np.full((len(reading.node.ids), 2), np.nan, np.float32)
            reading.node.logs[reading.offset] = value


def token_logs(hidden: Tensor, tokens: Tensor, head: Callable[[Tensor], Tensor]) -> TokenLogs:
    """How likely each token is after the hidden state before it.

    Args:
        hidden: (rows, width).
        tokens: (rows,).
    """
    import torch

    with torch.inference_mode():
        logs = head(hidden).float().log_softmax(-1)
        entropy = -(logs.exp() * logs).nan_to_num(0.0).sum(-1)
        found: TokenLogs = torch.stack((logs.gather(1, tokens[:, None])[:, 0], entropy), dim=1).cpu().numpy()
    return found


def logs_of(end: TrieNode, span: Span) -> TokenLogs:
    """What was read of a span in the sequence that ends at a node."""
    found = [np.empty((0, 2), np.float32)]
    for node in end.path():
        first, stop = max(span.start - node.start, 0), min(span.stop, node.end) - node.start
        if first < stop:
            assert node.logs is not None
            found.append(node.logs[first:stop])
    return np.concatenate(found)


def least_likelihood(logs: TokenLogs) -> float:
    """The least log-probability of a token, relative to what the model expects of any token there; 0 for no tokens.

    That is plus the entropy of its prediction, so that 0 is as expected and a guess among many is not held against it.
    """
    return float(logs.sum(axis=1).min()) if len(logs) else 0.0
