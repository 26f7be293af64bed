"""llama.cpp for reward models: a linear head on the hidden state of the last token, or how likely a reply is.

llama.cpp's own rank pooling does not know the heads of Llama and Qwen2 classifiers, so the head is applied here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from agentrm_models.llama_cpp.native import NativeContext
from agentrm_models.llama_cpp.sequences import SequencePool

if TYPE_CHECKING:
    from torch import Tensor

    from agentrm_models.trie.states import Rows, Span, TokenLogs

Head = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Hidden states (rows, width), or logits (rows, vocabulary), to outputs (rows, outputs)."""


class LlamaScoringBackend:
    """Outputs for token sequences; each token is computed once while it is in the pool.

    Args:
        context: Where the cells are; nobody else uses it.
        sequences: How many sequences the context has.
        head: What is made of what the context gives; None takes it as it is.
    """

    def __init__(self, context: NativeContext, sequences: int, head: Head | None = None) -> None:
        self._context = context
        self._pool = SequencePool(context, sequences)
        self._head = head

    @property
    def computed(self) -> int:
        """Rows decoded so far."""
        return self._pool.rows_computed

    def outputs(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Outputs after the last token of each sequence (sequences, outputs)."""
        import torch

        rows = [self._read(list(tokens), len(tokens))[-1] for tokens in sequences]
        given = np.stack(rows)
        return torch.from_numpy(given if self._head is None else self._head(given))

    def logs(self, sequences: Sequence[Sequence[int]], spans: Sequence[Span]) -> list[TokenLogs]:
        """How likely the tokens of one span of each sequence are; the context gives logits."""
        import torch

        from agentrm_models.trie.likelihood import token_logs

        found = []
        for tokens, span in zip(sequences, spans, strict=True):
            logits = torch.from_numpy(self._read(list(tokens[: span.stop - 1]), span.start))
            ids = torch.tensor(list(tokens[span.start : span.stop]))
            found.append(token_logs(logits, ids, lambda given: given))
        return found

    def decode(self, prompts: Sequence[Sequence[int]], counts: Rows, limits: Rows) -> NoReturn:
        """Refuse: a reward model writes nothing."""
        raise RuntimeError("a reward model does not write")

    def _read(self, tokens: list[int], first: int) -> NDArray[np.float32]:
        """What the context gives after each token from number `first` - 1 on."""
        sequence, last = self._pool.open(tokens[:first], lambda done, total: None)
        try:
            if first >= len(tokens):
                return last[None]
            return np.concatenate((last[None], self._pool.append([(sequence, token) for token in tokens[first:]])))
        finally:
            self._pool.release(sequence)
