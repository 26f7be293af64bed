"""Labelled trees as a model is fitted to them: every distinct token once, and where its labels are.

One record serves a tree, a part of a large one with its trunk, and a batch of several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from agentrm_models.trie.packing import PackedTokens, join_tokens, pack_sequences
from agentrm_models.trie.states import Span


class LabelledState(NamedTuple):
    """A history that ends in a reply, as token ids, with its label.

    Attributes:
        ids: The last token is the one that is judged.
        siblings: Number shared by states that differ in their last reply only; unique over the data set.
        turns: Where the replies that are fitted lie, in order: the last one's place, or those of the whole path.
        best: The reply is as good as the best of at least two siblings, and worth something.
    """

    ids: Sequence[int]
    target: float
    weight: float
    siblings: int
    turns: tuple[Span, ...] = ()
    best: bool = False


class Labels(NamedTuple):
    """Of states, as in `LabelledState`; targets and weights are float32, shapes (states,)."""

    targets: Tensor
    weights: Tensor
    siblings: Tensor
    best: Tensor


class Words(NamedTuple):
    """The words of the distinct replies of some trees, as a language model writes them, shapes (words,).

    Attributes:
        before: The row before each, where it is predicted.
        ids: The words.
        replies: The reply that each is of.
    """

    before: Tensor
    ids: Tensor
    replies: Tensor


class Steps(NamedTuple):
    """Which replies lie on the way to which state, in order, shapes (steps,)."""

    replies: Tensor
    states: Tensor


class Closing(NamedTuple):
    """The tokens of each state from the beginning of its last reply on, what the template adds included.

    Attributes:
        rows: Shape (tokens,); siblings share those of a common beginning.
        states: The state of each, shape (tokens,).
    """

    rows: Tensor
    states: Tensor


class PackedTrees(NamedTuple):
    """Labelled trees end to end.

    Attributes:
        replies: Distinct replies.
    """

    tokens: PackedTokens
    labels: Labels
    replies: int
    words: Words
    steps: Steps
    closing: Closing

    @property
    def size(self) -> int:
        """Distinct tokens."""
        return len(self.tokens.ids)

    @property
    def states(self) -> int:
        """Labelled states."""
        return len(self.labels.targets)


def pack_states(states: Sequence[LabelledState], limit: int) -> Iterator[PackedTrees]:
    """Pack the states of one tree, in parts of at most `limit` distinct tokens where possible."""
    for members, tokens in pack_sequences([state.ids for state in states], limit):
        yield _labelled([states[member] for member in members], tokens)


def _labelled(states: Sequence[LabelledState], tokens: PackedTokens) -> PackedTrees:
    replies: dict[tuple[int, int], int] = {}
    words: list[tuple[int, int, int]] = []
    steps: list[tuple[int, int]] = []
    closing: list[tuple[int, int]] = []
    for place, (state, path) in enumerate(zip(states, tokens.paths(), strict=True)):
        rows = path.tolist()
        for start, stop in state.turns:
            span = (rows[start - 1], rows[stop - 1])
            if span not in replies:
                replies[span] = len(replies)
                words += [(rows[at - 1], state.ids[at], replies[span]) for at in range(start, stop)]
            steps.append((replies[span], place))
        if state.turns:
            closing += [(row, place) for row in rows[state.turns[-1].start :]]
    return PackedTrees(
        tokens,
        Labels(
            torch.tensor([state.target for state in states], dtype=torch.float32),
            torch.tensor([state.weight for state in states], dtype=torch.float32),
            torch.tensor([state.siblings for state in states]),
            torch.tensor([state.best for state in states]),
        ),
        len(replies),
        Words(*_columns(words, 3)),
        Steps(*_columns(steps, 2)),
        Closing(*_columns(closing, 2)),
    )


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> tuple[Tensor, ...]:
    return torch.tensor(rows, dtype=torch.long).reshape(-1, width).unbind(1)


def join_trees(trees: Sequence[PackedTrees]) -> PackedTrees:
    """Lay packed trees end to end."""
    rows, states, replies = (
        torch.tensor([0, *sizes[:-1]]).cumsum(0).tolist()
        for sizes in zip(*((tree.size, tree.states, tree.replies) for tree in trees), strict=True)
    )
    placed = list(zip(trees, rows, states, replies, strict=True))
    return PackedTrees(
        join_tokens([tree.tokens for tree in trees]),
        Labels(*(torch.cat(columns) for columns in zip(*(tree.labels for tree in trees), strict=True))),
        sum(tree.replies for tree in trees),
        Words(
            torch.cat([tree.words.before + row for tree, row, _, _ in placed]),
            torch.cat([tree.words.ids for tree in trees]),
            torch.cat([tree.words.replies + reply for tree, _, _, reply in placed]),
        ),
        Steps(
            torch.cat([tree.steps.replies + reply for tree, _, _, reply in placed]),
            torch.cat([tree.steps.states + state for tree, _, state, _ in placed]),
        ),
        Closing(
            torch.cat([tree.closing.rows + row for tree, row, _, _ in placed]),
            torch.cat([tree.closing.states + state for tree, _, state, _ in placed]),
        ),
    )


def batches(trees: Sequence[PackedTrees], tokens: int, order: Sequence[int]) -> Iterator[list[PackedTrees]]:
    """Go through the trees in this order, in batches of about so many tokens."""
    batch: list[PackedTrees] = []
    total = 0
    for index in order:
        tree = trees[index]
        if batch and total + tree.size > tokens:
            yield batch
            batch, total = [], 0
        batch.append(tree)
        total += tree.size
    if batch:
        yield batch
