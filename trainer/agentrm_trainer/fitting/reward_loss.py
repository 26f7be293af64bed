"""What an explicit reward model is fitted to on packed trees: the value head's output at each state's last token."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agentrm_models.trie.packed_attention import PackedPass
from agentrm_models.trie.states import architecture_of
from agentrm_trainer.config import FitSection
from agentrm_trainer.data.packed_trees import PackedTrees, Words
from agentrm_trainer.fitting.packed_forward import packed_hidden, word_logs

RANKING_SCALE = 0.1
"""Difference of two rewards at which a ranking pair counts as clearly ordered."""


def values_at(model: Any, hidden: Tensor, rows: Tensor) -> Tensor:
    """The value head at some tokens, shape (rows,); float32, as bfloat16 would leave values with three digits."""
    head = architecture_of(model).head
    assert head is not None
    values: Tensor = head(hidden[rows.to(hidden.device)].float())[:, 0]
    return values


def regression_loss(model: Any, packed: PackedTrees, section: FitSection, device: str, total: float = 0.0) -> Tensor:
    """Weighted mean squared error of the values, plus further terms where they are asked for.

    - `every_token`: the error at every token of a reply, as Cobbe et al. (arXiv 2110.14168) train verifiers.
    - `ranking`: siblings in the order of their targets.
    - `language`: the language-model loss of the best of siblings, which keeps what the model knew before (Yang et al.,
      arXiv 2406.10216).

    Args:
        total: Weight to divide the errors by, where these states are a share of a batch; 0 stands for their own.
            Ranking pairs and best replies are those within the share; their means count by its part of the weight.
    """
    hidden = packed_hidden(model, packed.tokens, PackedPass(packed.tokens, device), section.bf16)
    values = values_at(model, hidden, packed.tokens.ends)
    targets, weights = packed.labels.targets.to(device), packed.labels.weights.to(device)
    part = float(weights.sum()) / total if total else 1.0
    loss = (weights * (values - targets) ** 2).sum() / (total or weights.sum())
    if section.every_token:
        owners = packed.closing.states.to(device)
        errors = (values_at(model, hidden, packed.closing.rows) - targets[owners]) ** 2
        errors = (weights / torch.bincount(owners, minlength=len(weights)))[owners] * errors
        loss = loss + section.every_token * errors.sum() / (total or weights.sum())
    if section.ranking and len(pairs := ranking_pairs(packed, section.ranking_difference)):
        better, worse = pairs.to(device).unbind(1)
        margin = (values[better] - values[worse]) / RANKING_SCALE
        pair_weights = torch.minimum(weights[better], weights[worse])
        ranking = (pair_weights * F.softplus(-margin)).sum() / pair_weights.sum() * RANKING_SCALE
        loss = loss + section.ranking * part * ranking
    if section.language and len((words := best_words(packed)).ids):
        loss = loss - section.language * part * word_logs(model, hidden, words, section.bf16).mean()
    return loss


def ranking_pairs(packed: PackedTrees, least_difference: float) -> Tensor:
    """States that are siblings and differ by so much in target, the better one first, shape (pairs, 2)."""
    targets, families = packed.labels.targets.tolist(), dict[int, list[int]]()
    for state, family in enumerate(packed.labels.siblings.tolist()):
        families.setdefault(family, []).append(state)
    pairs = [
        (one, other) if targets[one] > targets[other] else (other, one)
        for family in families.values()
        for at, one in enumerate(family)
        for other in family[at + 1 :]
        if abs(targets[one] - targets[other]) >= least_difference
    ]
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)


def best_words(packed: PackedTrees) -> Words:
    """The words of replies that are among the best of their siblings."""
    best = torch.zeros(packed.replies, dtype=torch.bool)
    best[packed.steps.replies[packed.labels.best[packed.steps.states]]] = True
    chosen = best[packed.words.replies]
    return Words(*(column[chosen] for column in packed.words))
