"""What an implicit reward model is fitted to on packed trees, and how it judges them.

The reward of a reply is β times the log-ratio of two language models, the fitted one and the one it began as; that of a
state is made of the replies of its path (see `agentrm_models.rewards.implicit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agentrm_models.errors import UsageError
from agentrm_models.folder_settings import Aggregate
from agentrm_models.trie.packing import PackedTrees, Piece, batches, pack_pieces
from agentrm_models.trie.states import architecture_of
from agentrm_trainer.fitting.optimisation import autocast
from agentrm_trainer.fitting.reward_loss import packed_hidden


class Pair(NamedTuple):
    """The model that is fitted, the one it is compared with, and how much their log-ratio counts."""

    model: Any
    reference: Any
    beta: float


def step_rewards(pair: Pair, packed: PackedTrees, device: str, bf16: bool) -> Tensor:
    """The reward of each reply on the ways to the states, shape (replies,), float32."""
    with torch.no_grad():
        reference = _log_probabilities(pair.reference, packed, device, bf16)
    ratios = _log_probabilities(pair.model, packed, device, bf16) - reference
    steps = packed.turns.steps.to(ratios.device)
    return pair.beta * ratios.new_zeros(len(packed.turns.states)).index_add(0, steps, ratios)


def _log_probabilities(model: Any, packed: PackedTrees, device: str, bf16: bool) -> Tensor:
    head = architecture_of(model).vocabulary
    if head is None:
        raise UsageError(f"{type(model).__name__} is no language model", "An implicit reward model starts from one.")
    hidden = packed_hidden(model, packed, device, bf16)
    rows, row_of = torch.unique(packed.turns.before.to(hidden.device), return_inverse=True)
    with autocast(device, bf16):
        outputs = head(hidden[rows])
    return outputs.float().log_softmax(-1)[row_of, packed.turns.ids.to(hidden.device)]


def path_values(rewards: Tensor, states: Tensor, count: int, aggregate: Aggregate) -> Tensor:
    """What the replies of each state's path make of it, shape (count,).

    Args:
        rewards: Shape (replies,), each path's in order.
        states: The state of each, shape (replies,), not decreasing.
    """
    states = states.to(rewards.device)
    empty = rewards.new_zeros(count)
    match aggregate:
        case "sum":
            return empty.index_add(0, states, rewards)
        case "mean":
            return empty.index_add(0, states, rewards) / torch.bincount(states, minlength=count).clamp(min=1)
        case "min":
            return empty.scatter_reduce(0, states, rewards, "amin", include_self=False)
        case "last":
            last = torch.cat((states[1:] != states[:-1], states.new_ones(1, dtype=torch.bool)))
            return empty.index_copy(0, states[last], rewards[last])


def implicit_loss(pair: Pair, packed: PackedTrees, device: str, bf16: bool, total: float = 0.0) -> Tensor:
    """Weighted mean squared error of the summed rewards of each path against its target.

    Args:
        total: Weight to divide by, where these states are a share of a batch; 0 stands for their own.
    """
    rewards = step_rewards(pair, packed, device, bf16)
    values = path_values(rewards, packed.turns.states, len(packed.targets), "sum")
    targets, weights = packed.targets.to(device), packed.weights.to(device)
    return (weights * (values - targets) ** 2).sum() / (total or weights.sum())


def judge_paths(
    pair: Pair, pieces: Sequence[Piece], device: str, tokens: int = 8_000
) -> list[dict[Aggregate, list[float]]]:
    """Judge groups of states (a piece's weights hold the items' places in their group), under every aggregate."""
    found: list[dict[Aggregate, list[float]]] = []
    kinds: tuple[Aggregate, ...] = ("sum", "mean", "min", "last")
    with torch.no_grad():
        for batch in batches(pieces, tokens, range(len(pieces))):
            packed = pack_pieces(batch)
            rewards = step_rewards(pair, packed, device, False)
            states, count = packed.turns.states, len(packed.targets)
            values = {kind: path_values(rewards, states, count, kind).tolist() for kind in kinds}
            at = 0
            for piece in batch:
                rows = sorted(range(len(piece.items)), key=lambda row: piece.items[row].weight)
                found.append({kind: [numbers[at + row] for row in rows] for kind, numbers in values.items()})
                at += len(piece.items)
    return found
