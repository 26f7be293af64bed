"""The way peers do it, written plainly with the library's own calls: full history each time, no state kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

BATCH_TOKENS = {"tiny": 32_768, "bundled": 32_768, "110M": 8_192, "0.5B": 4_096}
"""Tokens that a batch of a peer may hold, so that memory lasts and the clock can stop between two batches."""


def batch_size(model: str, length: int, wanted: int) -> int:
    """Sequences of this length that a batch may hold."""
    return min(wanted, max(1, BATCH_TOKENS[model] // length))


def write(model: Any, prompts: Sequence[list[int]], each: int, tokens: int, greedy: bool = False) -> torch.Tensor:
    """`generate` on a batch of prompts, padded on the left; gives the new ids (prompts * each, tokens)."""
    longest = max(map(len, prompts))
    ids = torch.zeros((len(prompts), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    sampling: dict[str, Any] = {"do_sample": False} if greedy else {"do_sample": True, "top_k": 0}
    with torch.inference_mode():
        found: torch.Tensor = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=tokens, num_return_sequences=each, **sampling
        )
    return found[:, longest:]


def written_tokens(length: int, rows: int, tokens: int) -> int:
    """Rows that such a call computes: the prompt for every reply, then all tokens of it but the last."""
    return rows * (length + tokens - 1)


def judge(model: Any, sequences: Sequence[list[int]]) -> list[float]:
    """One forward pass of the classifier over a batch, padded on the right."""
    longest = max(map(len, sequences))
    ids = torch.zeros((len(sequences), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    with torch.inference_mode():
        values: list[float] = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, 0].tolist()
    return values


def in_batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Cut into batches of at most this size."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
