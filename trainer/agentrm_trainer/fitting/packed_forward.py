"""Hidden states of packed trees, with gradients, and how likely a language model finds their replies."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from agentrm_models.errors import UsageError
from agentrm_models.trie.layers import LibraryLayers
from agentrm_models.trie.packed_attention import PackedPass
from agentrm_models.trie.packing import PackedTokens
from agentrm_models.trie.states import architecture_of
from agentrm_trainer.data.packed_trees import Words
from agentrm_trainer.fitting.optimisation import autocast


def packed_hidden(model: Any, tokens: PackedTokens, attention: PackedPass, bf16: bool) -> Tensor:
    """Last hidden states of packed trees, shape (tokens, width)."""
    with autocast(model.device.type, bf16):
        return LibraryLayers(architecture_of(model)).hidden(tokens.ids, tokens.positions, attention)


def word_logs(model: Any, hidden: Tensor, words: Words, bf16: bool) -> Tensor:
    """Log-probability of each word, shape (words,), float32."""
    head = architecture_of(model).vocabulary
    assert head is not None
    with autocast(hidden.device.type, bf16):
        outputs = head(hidden[words.before.to(hidden.device)])
    return -F.cross_entropy(outputs.float(), words.ids.to(hidden.device), reduction="none")


def need_language_head(model: Any, remedy: str) -> None:
    """Refuse a model that does not tell how likely it finds a word.

    Raises:
        UsageError: It is no language model, and none with a value head either: its embedding is not tied.
    """
    if architecture_of(model).vocabulary is None:
        raise UsageError(f"{type(model).__name__} with an embedding of its own has no language-model head", remedy)
