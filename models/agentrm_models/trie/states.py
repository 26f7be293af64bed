"""What both backends, with and without a prefix cache, offer to policies and reward models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Rows: TypeAlias = Sequence[int]
TokenLogs: TypeAlias = NDArray[np.float32]
"""(tokens, 2), in nats: each token's log-probability, and the entropy of the prediction it was drawn from."""


class Span(NamedTuple):
    """Tokens `start` … `stop` - 1 of a sequence; a span begins at 1 at the earliest."""

    start: int
    stop: int


class Architecture(NamedTuple):
    """The parts of a model that the backends call.

    Attributes:
        model: The whole `transformers` model.
        backbone: Its layers; gives `last_hidden_state`.
        head: Hidden states (rows, width) to outputs (rows, vocabulary) or (rows, 1); None where only the whole model
            knows how (encoders with a pooler).
        context_length: Tokens the model can read; 0 where there is no limit.
        vocabulary: Hidden states (rows, width) to logits (rows, vocabulary); None where the model has no such head.
    """

    model: Any
    backbone: Any
    head: Callable[[Tensor], Tensor] | None
    context_length: int
    vocabulary: Callable[[Tensor], Tensor] | None = None


class Decoding(Protocol):
    """Branches that grow from prompts, a token at a time."""

    @property
    def first(self) -> Tensor:
        """Outputs after each prompt (prompts, vocabulary)."""
        ...

    def step(self, rows: Rows, tokens: Rows) -> Tensor:
        """Append `tokens[i]` to branch `rows[i]` and give the outputs after it (rows, vocabulary)."""
        ...

    def close(self) -> None:
        """End the branches; what a cache wants to keep, it keeps now."""
        ...


class Backend(Protocol):
    """Outputs for token sequences."""

    @property
    def computed(self) -> int:
        """Rows that went through the layers so far, padding included."""
        ...

    def outputs(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Outputs after the last token of each sequence (sequences, outputs)."""
        ...

    def decode(self, prompts: Sequence[Sequence[int]], counts: Rows, limits: Rows) -> Decoding:
        """Start `counts[i]` branches of at most `limits[i]` tokens after `prompts[i]`, numbered in order."""
        ...


class ScoringBackend(Backend, Protocol):
    """What reward models need beyond that."""

    def logs(self, sequences: Sequence[Sequence[int]], spans: Sequence[Span]) -> list[TokenLogs]:
        """How likely the tokens of one span of each sequence are, after those before them."""
        ...


def architecture_of(model: Any) -> Architecture:
    """Find layers and head of a causal language model or sequence classifier."""
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    length = _window(model, config)
    backbone = getattr(model, model.base_model_prefix, None)
    vocabulary = _vocabulary_head(model, config)
    head = getattr(model, "score", None) or (vocabulary if model.get_output_embeddings() is not None else None)
    return Architecture(model, backbone, head if backbone is not None else None, length, vocabulary)


def _window(model: Any, config: Any) -> int:
    """Tokens the model can read; RoBERTa and its kin number positions from the one behind their padding token's id."""
    import torch

    length = next((int(n) for name in _LENGTHS if (n := getattr(config, name, None))), 0)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return min(length or module.num_embeddings, module.num_embeddings - first)
    return length


def _vocabulary_head(model: Any, config: Any) -> Callable[[Tensor], Tensor] | None:
    """The language-model head; a sequence classifier has one where the embedding of its tokens is that head too.

    What models do to its outputs (Granite divides, Cohere multiplies, Gemma caps) is done too. The check on load
    compares it with the model's own logits.
    """
    head, cap = model.get_output_embeddings(), getattr(config, "final_logit_softcapping", None)
    scale = (getattr(config, "logit_scale", None) or 1) / (getattr(config, "logits_scaling", None) or 1)
    if head is None and not getattr(config, "tie_word_embeddings", False):
        return None

    def logits(hidden: Tensor) -> Tensor:
        import torch

        found = head(hidden) if head else torch.nn.functional.linear(hidden, model.get_input_embeddings().weight)
        found = found if scale == 1 else found * scale
        return cap * torch.tanh(found / cap) if cap else found

    return logits


_LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_sequence_length",
    "max_seq_len",
    "model_max_length",
    "max_target_positions",
)
