"""Attention over many sequences or whole trees laid end to end, without padding rows and without a quadratic mask.

Registered as an attention function of `transformers`, so that any decoder that uses that interface can be trained
packed: linear layers run on the concatenation, attention on each sequence by itself. For a tree each token attends
to the tokens on its path; queries are cut into blocks, the keys of their paths are gathered.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

ATTENTION = "agentrm_packed"


class Sequences(NamedTuple):
    """Independent sequences: their lengths, in the order in which they are laid end to end."""

    lengths: list[int]


class QueryBlocks(NamedTuple):
    """Blocks of a packed forest whose key counts are similar.

    Attributes:
        queries: Token index of each query, shape (blocks, longest block); padding repeats a valid index.
        keys: Token index of each key, shape (blocks, longest path); padding repeats a valid index.
        mask: What a query may read, shape (blocks, 1, longest block, longest path).
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor


class Forest(NamedTuple):
    """Trees of tokens laid end to end.

    Attributes:
        blocks: Query blocks, grouped by path length.
        order: For each token, its row in the concatenated flattened outputs of the blocks, shape (tokens,).
    """

    blocks: list[QueryBlocks]
    order: Tensor


Layout: TypeAlias = Sequences | Forest


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: Layout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within each sequence or along each path.

    Args:
        query: Shape (1, heads, tokens, head size).
        key, value: Shape (1, key-value heads, tokens, head size).

    Returns:
        Shape (1, tokens, heads, head size).
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    match layout:
        case Sequences(lengths):
            parts = zip(*(torch.split(part, lengths, 2) for part in (query, key, value)), strict=True)
            outs = [F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling) for q, k, v in parts]
            return torch.cat(outs, 2).transpose(1, 2), None
        case Forest(blocks, order):
            return _forest_attention(query[0], key[0], value[0], blocks, order, scaling), None
        case None:
            out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
            return out.transpose(1, 2), None


def _forest_attention(
    query: Tensor, key: Tensor, value: Tensor, blocks: list[QueryBlocks], order: Tensor, scaling: float | None
) -> Tensor:
    query, key, value = (part.transpose(0, 1) for part in (query, key, value))
    outs = []
    for block in blocks:
        q, k, v = (
            part.index_select(0, index.flatten()).view(*index.shape, *part.shape[1:]).transpose(1, 2)
            for part, index in ((query, block.queries), (key, block.keys), (value, block.keys))
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=block.mask, scale=scaling)
        outs.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(outs).index_select(0, order)[None]


def use_packed_attention(model: Any) -> None:
    """Let a model's layers attend by `layout=…` given to its forward call.

    Models whose code does not use the attention interface are left as they are.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, packed_attention)
    model.config._attn_implementation = ATTENTION
