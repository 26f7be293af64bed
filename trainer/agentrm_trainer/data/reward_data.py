"""Labelled trees and judged states as token ids, encoded exactly as a reward model reads them when it plays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentrm_models.chat import encoder_of
from agentrm_models.context import fit_context, reply_span
from agentrm_models.messages import Conversation
from agentrm_models.trie.packing import LabelledIds, Piece, cut_tree
from agentrm_trainer.data.judged import JudgedGroup
from agentrm_trainer.data.labelled_trees import LabelledTree


def encode_state(tokenizer: Any, conversation: Conversation, context: int) -> NDArray[np.int32]:
    """Token ids of a state, shortened as in play when the context is full."""
    return np.asarray(fit_context(encoder_of(tokenizer), conversation, context, 0, False).ids, np.int32)


def tree_pieces(
    tokenizer: Any, trees: Sequence[LabelledTree], context: int, limit: int, judged: bool = False
) -> list[Piece]:
    """Encode labelled trees for an explicit model and cut them into pieces of at most `limit` tokens where possible.

    Args:
        judged: The targets of siblings say which is best; means of few returns do not.
    """
    pieces: list[Piece] = []
    families: dict[tuple[int, int], int] = {}
    for number, tree in enumerate(trees):
        items, best = [], _best_of_siblings(tree) if judged else set()
        for index, node in enumerate(tree.nodes):
            if node.target is not None:
                family = families.setdefault((number, node.parent), len(families))
                state = _encoded(tokenizer, tree.conversation(index), context)
                items.append(
                    LabelledIds(state.ids, node.target, node.weight, family, state.reply, state.closing, index in best)
                )
        pieces += cut_tree(items, limit)
    return pieces


def path_pieces(
    tokenizer: Any, trees: Sequence[LabelledTree], context: int, limit: int, ends_only: bool
) -> list[Piece]:
    """Encode labelled trees for an implicit model: each state names the replies of its whole path.

    States that do not fit the context are left out: their first replies are no longer there.

    Args:
        ends_only: Only states that nothing follows, as the ends of trajectories are.
    """
    pieces: list[Piece] = []
    for tree in trees:
        inner = {node.parent for node in tree.nodes} if ends_only else set()
        items = []
        for index, node in enumerate(tree.nodes):
            if node.target is not None and index not in inner:
                items += _path(tokenizer, tree.conversation(index), context, node.target, node.weight, index)
        pieces += cut_tree(items, limit)
    return pieces


def judged_paths(tokenizer: Any, groups: Sequence[JudgedGroup], context: int) -> list[Piece]:
    """Encode groups of judged states as `path_pieces` does, as far as they fit the context (see `judged_pieces`)."""
    pieces: list[Piece] = []
    for group in groups:
        items = []
        for place, item in enumerate(group.items):
            items += _path(tokenizer, item.conversation, context, item.worth, float(place), place)
        pieces += cut_tree(items, 10**9)
    return pieces


def _path(
    tokenizer: Any, conversation: Conversation, context: int, target: float, weight: float, place: int
) -> list[LabelledIds]:
    segments = encoder_of(tokenizer).segments(conversation)
    ids = [token for segment in segments for token in segment.ids]
    if len(ids) > context:
        return []
    turns, at = [], 0
    for segment in segments:
        if segment.start < segment.stop:
            turns.append((at + segment.start, at + segment.stop))
        at += len(segment.ids)
    return [LabelledIds(np.asarray(ids, np.int32), target, weight, place, turns=tuple(turns))]


def _best_of_siblings(tree: LabelledTree) -> set[int]:
    """Labelled nodes that none of their siblings exceeds; they have some, and are worth something."""
    families: dict[int, list[int]] = {}
    targets: dict[int, float] = {}
    for index, node in enumerate(tree.nodes):
        if node.target is not None:
            families.setdefault(node.parent, []).append(index)
            targets[index] = node.target
    found: set[int] = set()
    for family in families.values():
        most = max(targets[index] for index in family)
        if len(family) > 1 and most > 0:
            found.update(index for index in family if targets[index] == most)
    return found


class _EncodedState(NamedTuple):
    ids: NDArray[np.int32]
    reply: int
    closing: int


def _encoded(tokenizer: Any, conversation: Conversation, context: int) -> _EncodedState:
    """A state's ids, how many of the last are its reply, and how many of these the template puts behind the turn."""
    ids = encode_state(tokenizer, conversation, context)
    span = reply_span(encoder_of(tokenizer), conversation, len(ids))
    return _EncodedState(ids, len(ids) - span.start, len(ids) - span.stop)


def judged_pieces(tokenizer: Any, groups: Sequence[JudgedGroup], context: int) -> list[Piece]:
    """Encode groups of judged states, a piece for each group; the weight holds the item's place in its group."""
    pieces: list[Piece] = []
    for group in groups:
        items = []
        for place, item in enumerate(group.items):
            state = _encoded(tokenizer, item.conversation, context)
            items.append(LabelledIds(state.ids, item.worth, float(place), place, state.reply, state.closing))
        pieces += cut_tree(items, 10**9)
    return pieces
