"""Labelled trees as packed token ids, encoded exactly as a reward model reads them when it plays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentrm_models.chat import encoder_of
from agentrm_models.context import fit_context, reply_span
from agentrm_models.errors import DataError
from agentrm_models.messages import Conversation
from agentrm_models.trie.states import Span
from agentrm_trainer.data.labelled_trees import LabelledTree
from agentrm_trainer.data.packed_trees import LabelledState, PackedTrees, pack_states


def encode_trees(
    tokenizer: Any, trees: Sequence[LabelledTree], context: int, limit: int, judged: bool = False
) -> list[PackedTrees]:
    """Encode labelled trees for an explicit model, in parts of at most `limit` tokens where possible.

    Args:
        judged: The targets of siblings say which is best; means of few returns do not.
    """
    packed: list[PackedTrees] = []
    families: dict[tuple[int, int], int] = {}
    encoder = encoder_of(tokenizer)
    for number, tree in enumerate(trees):
        states, best = [], _best_of_siblings(tree) if judged else set()
        for index, node in enumerate(tree.nodes):
            if node.target is not None:
                family = families.setdefault((number, node.parent), len(families))
                conversation = tree.conversation(index)
                ids = fit_context(encoder, conversation, context, 0, False).ids
                turns = (reply_span(encoder, conversation, len(ids)),)
                states.append(LabelledState(ids, node.target, node.weight, family, turns, index in best))
        packed += pack_states(states, limit)
    return packed


def encode_paths(
    tokenizer: Any, trees: Sequence[LabelledTree], context: int, limit: int, ends_only: bool
) -> list[PackedTrees]:
    """Encode labelled trees for an implicit model: each state names the replies of its whole path.

    States that do not fit the context are left out: their first replies are no longer there.

    Args:
        ends_only: Only states that nothing follows, as the ends of trajectories are.
    """
    packed: list[PackedTrees] = []
    for tree in trees:
        inner = {node.parent for node in tree.nodes} if ends_only else set()
        states = []
        for index, node in enumerate(tree.nodes):
            if node.target is not None and index not in inner:
                ids, turns = _with_turns(tokenizer, tree.conversation(index))
                if len(ids) <= context:
                    states.append(LabelledState(ids, node.target, node.weight, index, turns))
        packed += pack_states(states, limit)
    return packed


def _with_turns(tokenizer: Any, conversation: Conversation) -> tuple[list[int], tuple[Span, ...]]:
    """A conversation's ids, and where its replies lie."""
    ids: list[int] = []
    turns: list[Span] = []
    for segment in encoder_of(tokenizer).segments(conversation):
        if segment.start < segment.stop:
            turns.append(Span(len(ids) + segment.start, len(ids) + segment.stop))
        ids += segment.ids
    if len(turns) < sum(message.role == "assistant" for message in conversation):
        raise DataError(
            f"{tokenizer.name_or_path or 'the model'}: its chat template shows earlier replies otherwise than they "
            "were written, so that an implicit reward cannot be fitted on whole paths",
            "Take a model whose template keeps them, or fit another kind of reward model.",
        )
    return ids, tuple(turns)


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
