"""The check before training: packed random trees must give what the library's own forward pass gives."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from agentrm_models.trie.check import distance, head_pairs, layers_alone, own_logits, random_text
from agentrm_models.trie.layers import LibraryLayers
from agentrm_models.trie.packed_attention import PackedPass, SequencesPass
from agentrm_models.trie.packing import PackedTokens, pack_sequences
from agentrm_models.trie.query_blocks import BLOCK
from agentrm_models.trie.reach import check_reach, named_lengths
from agentrm_models.trie.states import Architecture
from agentrm_models.trie.tree_attention import UnsupportedAttentionError

PACKED_TOLERANCE = 1e-4
"""Largest difference of hidden states and outputs in float32, relative where they are larger than 1."""


def packed_difference(parts: Architecture) -> float:
    """The largest difference from the library's own hidden states and logits, in a tree and in texts end to end.

    The model must be in evaluation mode.

    Raises:
        UnsupportedAttentionError: Its layers ask for an attention that packed trees cannot give.
    """
    if parts.head is None:
        raise UnsupportedAttentionError("only the whole model gives outputs")
    if not getattr(parts.model, "_supports_attention_backend", False):
        raise UnsupportedAttentionError("its layers attend in their own way")
    with layers_alone():
        check_reach(parts)
        return _largest_difference(parts)


def _largest_difference(parts: Architecture) -> float:
    texts = _random_texts(parts)
    layers, device = LibraryLayers(parts), parts.model.device
    [(members, tree)] = pack_sequences(texts, 1 << 40)
    lengths = torch.tensor([len(text) for text in texts])
    rows = PackedTokens(torch.tensor([token for text in texts for token in text]), lengths, torch.zeros_like(lengths))
    with torch.no_grad():
        in_tree = layers.hidden(tree.ids, tree.positions, PackedPass(tree, device))
        in_rows = layers.hidden(rows.ids, rows.positions, SequencesPass(lengths.tolist()))
        found = {index: in_tree[torch.from_numpy(path)] for index, path in zip(members, tree.paths(), strict=True)}
        return max(
            _difference(parts, text, hidden)
            for index, (text, row) in enumerate(zip(texts, torch.split(in_rows, lengths.tolist()), strict=True))
            for hidden in (found[index], row)
        )


def _difference(parts: Architecture, text: list[int], hidden: Tensor) -> float:
    """How far packed hidden states (tokens, width) and their outputs are from those of the text alone."""
    ids = torch.tensor([text], device=parts.model.device)
    alone = parts.backbone(input_ids=ids, use_cache=False).last_hidden_state[0]
    return max(distance(hidden, alone), distance(*head_pairs(parts, text, own_logits(parts.model, text), hidden)))


def _random_texts(parts: Architecture) -> list[list[int]]:
    """A trunk of more than one block of queries, branches of it and of each other, and a text by itself."""
    longest = max([0, *(named.tokens + 8 for named in named_lengths(parts))])
    unit = min(max(BLOCK // 2, -(-longest // 5)), max(1, (parts.context_length or 10 * BLOCK + 2 * longest) // 8))
    draw = random.Random(7)

    def text(length: int) -> list[int]:
        return random_text(parts, draw, length)

    trunk = text(3 * unit)
    left, right = trunk + text(2 * unit), trunk[: 2 * unit] + text(unit + 1)
    return [trunk, left, [*left, *text(unit)], [*left[: 4 * unit], *text(1)], right, [*right, *text(2)], text(unit + 2)]
