"""What an implicit reward model is fitted to on packed trees.

The reward of a reply is β times the log-ratio of two language models, the fitted one and the one it began as; that of a
state is the sum over the replies of its path (see `agentrm_models.rewards.implicit`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from agentrm_models.rewards.implicit import log_ratio
from agentrm_models.trie.packed_attention import PackedPass
from agentrm_trainer.data.packed_trees import PackedTrees
from agentrm_trainer.fitting.packed_forward import packed_hidden, word_logs


class Pair(NamedTuple):
    """The model that is fitted, the one it is compared with, and how much their log-ratio counts."""

    model: Any
    reference: Any
    beta: float


def reply_rewards(pair: Pair, packed: PackedTrees, device: str, bf16: bool) -> Tensor:
    """The reward of each reply, shape (replies,), float32."""
    attention = PackedPass(packed.tokens, device)

    def logs(model: Any) -> Tensor:
        words = word_logs(model, packed_hidden(model, packed.tokens, attention, bf16), packed.words, bf16)
        return words.new_zeros(packed.replies).index_add(0, packed.words.replies.to(device), words)

    with torch.no_grad():
        reference = logs(pair.reference)
    return log_ratio(pair.beta, logs(pair.model), reference)


def implicit_loss(pair: Pair, packed: PackedTrees, device: str, bf16: bool, total: float = 0.0) -> Tensor:
    """Weighted mean squared error of the summed rewards of each path against its target.

    Args:
        total: Weight to divide by, where these states are a share of a batch; 0 stands for their own.
    """
    rewards = reply_rewards(pair, packed, device, bf16)
    steps = rewards[packed.steps.replies.to(device)]
    values = steps.new_zeros(packed.states).index_add(0, packed.steps.states.to(device), steps)
    targets, weights = packed.labels.targets.to(device), packed.labels.weights.to(device)
    return (weights * (values - targets) ** 2).sum() / (total or weights.sum())
