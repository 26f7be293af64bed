"""Attention passes of training: sequences or whole trees laid end to end, without padding and without a quadratic mask.

Linear layers run on the concatenation. Sequences attend each by itself; in trees each token attends to the tokens on
its path: queries are cut into blocks, and the keys of their paths are gathered.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agentrm_models.trie.packing import PackedTokens
from agentrm_models.trie.query_blocks import lay_blocks


class SequencesPass:
    """Attends within each of some independent sequences, given their lengths in the order in which they lie."""

    def __init__(self, lengths: list[int]) -> None:
        self._lengths = lengths

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """See `AttentionPass`."""
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        parts = zip(*(torch.split(part.transpose(0, 1), self._lengths, 1) for part in (query, key, value)), strict=True)
        return torch.cat([_attend(q[None], k[None], v[None], None, scaling)[0] for q, k, v in parts], 1).transpose(0, 1)


class PackedPass:
    """Attends along the paths of packed trees; made once for all layers.

    Args:
        device: Where the model is.
    """

    def __init__(self, tokens: PackedTokens, device: Any) -> None:
        self._layout = lay_blocks(tokens).to(device)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """See `AttentionPass`; query heads that share a key head are stacked as further queries: no key is copied."""
        heads, key_heads = query.shape[1], key.shape[1]
        outs = []
        for block in self._layout.blocks:
            q, k, v = (
                part.index_select(0, index.flatten()).view(*index.shape, *part.shape[1:]).transpose(1, 2)
                for part, index in ((query, block.queries), (key, block.keys), (value, block.keys))
            )
            stacked = q.reshape(len(q), key_heads, -1, q.shape[-1])
            out = _attend(stacked, k, v, block.mask.repeat(1, 1, heads // key_heads, 1), scaling)
            outs.append(out.reshape(*q.shape[:-1], v.shape[-1]).transpose(1, 2).flatten(0, 1))
        return torch.cat(outs).index_select(0, self._layout.order)


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
