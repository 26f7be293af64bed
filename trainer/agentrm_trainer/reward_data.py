"""Labelled trees and judged states as token ids, encoded exactly as a reward model reads them when it plays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agentrm_models.chat import encoder_of
from agentrm_models.context import fit_context
from agentrm_models.messages import Conversation
from agentrm_trainer.judged import JudgedGroup
from agentrm_trainer.labelled_trees import LabelledTree
from agentrm_trainer.tree_packing import LabelledIds, Piece, cut_tree


def encode_state(tokenizer: Any, conversation: Conversation, context: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Token ids of a state, shortened as in play when the context is full."""
    return np.asarray(fit_context(encoder_of(tokenizer), conversation, context, 0, False).ids, np.int32)


def tree_pieces(tokenizer: Any, trees: Sequence[LabelledTree], context: int, limit: int) -> list[Piece]:
    """Encode labelled trees and cut them into pieces of at most `limit` tokens where possible."""
    pieces: list[Piece] = []
    families: dict[tuple[int, int], int] = {}
    for number, tree in enumerate(trees):
        items = []
        for index, node in enumerate(tree.nodes):
            if node.target is not None:
                family = families.setdefault((number, node.parent), len(families))
                conversation = tree.conversation(index)
                ids = encode_state(tokenizer, conversation, context)
                reply = min(_reply_tokens(tokenizer, conversation), len(ids))
                items.append(LabelledIds(ids, node.target, node.weight, family, reply))
        pieces += cut_tree(items, limit)
    return pieces


def _reply_tokens(tokenizer: Any, conversation: Conversation) -> int:
    """How many tokens of a state are its last reply, the end of the turn and what the template adds included."""
    last = encoder_of(tokenizer).segments(conversation)[-1]
    return len(last.ids) - last.start


def judged_pieces(tokenizer: Any, groups: Sequence[JudgedGroup], context: int) -> list[Piece]:
    """Encode groups of judged states, a piece for each group; the weight holds the item's place in its group."""
    pieces: list[Piece] = []
    for group in groups:
        items = [
            LabelledIds(encode_state(tokenizer, item.conversation, context), item.worth, float(place), place)
            for place, item in enumerate(group.items)
        ]
        pieces += cut_tree(items, 10**9)
    return pieces
