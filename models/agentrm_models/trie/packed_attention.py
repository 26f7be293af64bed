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
    if isinstance(layout, Forest):
        return _forest_attention(query[0], key[0], value[0], layout, scaling), None
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    match layout:
        case Sequences(lengths):
            parts = zip(*(torch.split(part, lengths, 2) for part in (query, key, value)), strict=True)
            outs = [_attend(q, k, v, None, scaling) for q, k, v in parts]
            return torch.cat(outs, 2).transpose(1, 2), None
        case None:
            out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
            return out.transpose(1, 2), None


def _forest_attention(query: Tensor, key: Tensor, value: Tensor, forest: Forest, scaling: float | None) -> Tensor:
    """Attend along paths; query heads that share a key head are stacked as further queries, so no key is copied."""
    heads, key_heads = query.shape[0], key.shape[0]
    query, key, value = (part.transpose(0, 1) for part in (query, key, value))
    outs = []
    for block in forest.blocks:
        q, k, v = (
            part.index_select(0, index.flatten()).view(*index.shape, *part.shape[1:]).transpose(1, 2)
            for part, index in ((query, block.queries), (key, block.keys), (value, block.keys))
        )
        stacked = q.reshape(len(q), key_heads, -1, q.shape[-1])
        out = _attend(stacked, k, v, block.mask.repeat(1, 1, heads // key_heads, 1), scaling)
        outs.append(out.reshape(q.shape).transpose(1, 2).flatten(0, 1))
    return torch.cat(outs).index_select(0, forest.order)[None]


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None) -> Tensor:
    """Attention of one sequence (causal, without mask) or of masked blocks; shapes (…, heads, tokens, head size).

    In bfloat16 on a CPU the library's kernel takes two to three times as long as plain matrix products, forward and
    backward together (measured for 300 to 1,000 tokens), so these are used there.
    """
    if query.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        dtype = torch.get_autocast_dtype("cpu")
        scaled = (query * scale).to(dtype)
        out: Tensor = _PlainAttention.apply(scaled, key.to(dtype), value.to(dtype), mask)  # type: ignore[no-untyped-call]
        return out
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling)


CAUSAL_BLOCK = 256
"""Queries computed together under a causal mask: keys after the block are never touched."""


class _PlainAttention(torch.autograd.Function):
    """softmax(q kᵀ) v with the probabilities kept for the backward pass; q is scaled already."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Attend in blocks of queries; with a mask in one block."""
        with torch.autocast("cpu", enabled=False):
            kept, outs = [], []
            for start, stop, keys in _spans(query, key, mask):
                scores = query[..., start:stop, :] @ key[..., :keys, :].transpose(-1, -2)
                if mask is None:
                    later = torch.ones(stop - start, stop - start, dtype=torch.bool).triu(1)
                    scores[..., start:stop].masked_fill_(later, float("-inf"))
                else:
                    scores.masked_fill_(~mask, float("-inf"))
                kept.append(scores.softmax(-1))
                outs.append(kept[-1] @ value[..., :keys, :])
            ctx.spans = _spans(query, key, mask)
            ctx.save_for_backward(query, key, value, *kept)
            return torch.cat(outs, -2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of the query (scaled), the key and the value."""
        query, key, value, *kept = ctx.saved_tensors
        to_query, to_key, to_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for (start, stop, keys), probability in zip(ctx.spans, kept, strict=True):
            grad = grads[0][..., start:stop, :]
            to_value[..., :keys, :] += probability.transpose(-1, -2) @ grad
            to_probability = grad @ value[..., :keys, :].transpose(-1, -2)
            to_scores = torch._softmax_backward_data(to_probability, probability, -1, probability.dtype)
            to_query[..., start:stop, :] = to_scores @ key[..., :keys, :]
            to_key[..., :keys, :] += to_scores.transpose(-1, -2) @ query[..., start:stop, :]
        return to_query, to_key, to_value, None


def _spans(query: Tensor, key: Tensor, mask: Tensor | None) -> list[tuple[int, int, int]]:
    """Blocks of queries (start, stop) and how many keys each reads."""
    length = query.shape[-2]
    if mask is not None:
        return [(0, length, key.shape[-2])]
    return [
        (start, min(start + CAUSAL_BLOCK, length), min(start + CAUSAL_BLOCK, length))
        for start in range(0, length, CAUSAL_BLOCK)
    ]


def use_packed_attention(model: Any) -> None:
    """Let a model's layers attend by `layout=…` given to its forward call.

    Models whose code does not use the attention interface are left as they are.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, packed_attention)
    model.config._attn_implementation = ATTENTION
