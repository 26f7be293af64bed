"""What a reward model is fitted to on packed trees, and how it judges them.

The reward of a state is the value head's output at its last token, plus, where it is wanted, a weight times the
likelihood of the reply (see `agentrm_models.rewards.explicit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from agentrm_models.errors import UsageError
from agentrm_models.trie.packing import PackedTrees, Piece, Words, batches, pack_pieces
from agentrm_models.trie.states import architecture_of
from agentrm_trainer.config import FitSection
from agentrm_trainer.fitting.optimisation import autocast

RANKING_SCALE = 0.1
"""Difference of two rewards at which a ranking pair counts as clearly ordered."""


def packed_hidden(model: Any, packed: PackedTrees, device: str, bf16: bool) -> Tensor:
    """Last hidden states of a batch, shape (tokens, width)."""
    forest = packed.forest
    layout = forest._replace(
        blocks=[type(block)(*(part.to(device) for part in block)) for block in forest.blocks],
        order=forest.order.to(device),
    )
    with autocast(device, bf16):
        hidden: Tensor = model.model(
            input_ids=packed.ids[None].to(device),
            position_ids=packed.positions[None].to(device),
            use_cache=False,
            layout=layout,
        ).last_hidden_state[0]
    return hidden


def values_at(model: Any, hidden: Tensor, places: Tensor) -> Tensor:
    """The value head at some tokens, shape (places,); float32, as bfloat16 would leave values with three digits."""
    values: Tensor = F.linear(hidden[places.to(hidden.device)].float(), model.score.weight)[:, 0]
    return values


def predictions(model: Any, hidden: Tensor, words: Words, bf16: bool) -> tuple[Tensor, Tensor]:
    """Log-probability of each word, and the entropy of the prediction it is compared with, both (words,), float32.

    Raises:
        UsageError: The model has no language-model head: its embedding is not tied.
    """
    head = architecture_of(model).vocabulary
    if head is None:
        raise UsageError(
            f"{type(model).__name__} with an embedding of its own has no language-model head",
            "Leave fit.language and fit.likelihoods out.",
        )
    rows, row_of = torch.unique(words.before.to(hidden.device), return_inverse=True)
    with autocast(hidden.device.type, bf16):
        outputs = head(hidden[rows])
    logs = outputs.float().log_softmax(-1)
    return logs[row_of, words.ids.to(hidden.device)], -(logs.exp() * logs).sum(-1)[row_of]


def packed_values(model: Any, packed: PackedTrees, device: str, bf16: bool) -> Tensor:
    """Values of the states of a batch, shape (states,), float32."""
    return values_at(model, packed_hidden(model, packed, device, bf16), packed.ends)


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
    hidden = packed_hidden(model, packed, device, section.bf16)
    values = values_at(model, hidden, packed.ends)
    targets, weights = packed.targets.to(device), packed.weights.to(device)
    part = float(weights.sum()) / total if total else 1.0
    loss = (weights * (values - targets) ** 2).sum() / (total or weights.sum())
    if section.every_token:
        owners = packed.owners.to(device)
        errors = (values_at(model, hidden, packed.replies) - targets[owners]) ** 2
        errors = weights[owners] * packed.shares.to(device) * errors
        loss = loss + section.every_token * errors.sum() / (total or weights.sum())
    if section.ranking and len(packed.pairs):
        better, worse = packed.pairs.to(device).unbind(1)
        margin = (values[better] - values[worse]) / RANKING_SCALE
        pair_weights = torch.minimum(weights[better], weights[worse])
        ranking = (pair_weights * F.softplus(-margin)).sum() / pair_weights.sum() * RANKING_SCALE
        loss = loss + section.ranking * part * ranking
    if section.language and bool(packed.best.any()):
        chosen = packed.best[packed.words.owners]
        logs, _ = predictions(model, hidden, Words(*(column[chosen] for column in packed.words)), section.bf16)
        loss = loss - section.language * part * logs.mean()
    return loss


class Judgements(NamedTuple):
    """What a model finds of the states of a group, in the order of its items.

    Attributes:
        values: Of the value head.
        likelihoods: Of the replies; zeros where the model has no language-model head.
    """

    values: list[float]
    likelihoods: list[float]

    def rewards(self, likelihood: float) -> list[float]:
        """Values plus this weight times likelihoods."""
        return [value + likelihood * log for value, log in zip(self.values, self.likelihoods, strict=True)]


def judge_pieces(
    model: Any, pieces: Sequence[Piece], device: str, language: Any = None, tokens: int = 8_000
) -> list[Judgements]:
    """Judge groups of states (a piece's weights hold the items' places in their group).

    Args:
        language: The causal language model that tells likelihoods; None takes the reward model itself.
    """
    found: list[Judgements] = []
    with torch.no_grad():
        for batch in batches(pieces, tokens, range(len(pieces))):
            packed = pack_pieces(batch)
            hidden = packed_hidden(model, packed, device, False)
            values = values_at(model, hidden, packed.ends).tolist()
            speaker = language or model
            spoken = hidden if language is None else packed_hidden(language, packed, device, False)
            likelihoods = _likelihoods(speaker, spoken, packed).tolist()
            at = 0
            for piece in batch:
                rows = sorted(range(len(piece.items)), key=lambda row: piece.items[row].weight)
                found.append(Judgements([values[at + row] for row in rows], [likelihoods[at + row] for row in rows]))
                at += len(piece.items)
    return found


def _likelihoods(model: Any, hidden: Tensor, packed: PackedTrees) -> Tensor:
    least = hidden.new_zeros(len(packed.ends), dtype=torch.float32)
    if architecture_of(model).vocabulary is None:
        return least
    logs, entropies = predictions(model, hidden, packed.words, False)
    owners = packed.words.owners.to(hidden.device)
    return least.scatter_reduce(0, owners, logs + entropies, "amin", include_self=False)
