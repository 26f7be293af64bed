"""The plain backend: every sequence through the whole model, for architectures that a prefix cache cannot serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from agentrm_models.trie.check import forget_length
from agentrm_models.trie.likelihood import token_logs
from agentrm_models.trie.states import Architecture, Rows, Span, TokenLogs
from agentrm_models.trie.uncached_decoding import UncachedDecoding

if TYPE_CHECKING:
    from torch import Tensor

Taken = TypeVar("Taken")

BATCH_TOKENS = 8_192
"""Tokens of one padded batch, padding included, unless a single sequence is longer."""


class Way(NamedTuple):
    """How far the library's own shortcuts are used.

    Attributes:
        padded: Sequences share batches, padded on the right and masked there.
        states: Branches are a batch over one copy of the library's states (`joined`), have a copy each (`apart`), or
            every token is computed anew with all before it (`anew`).
    """

    padded: bool
    states: Literal["joined", "apart", "anew"]


WAYS = (Way(True, "joined"), Way(True, "apart"), Way(False, "apart"), Way(False, "anew"))
"""From the fastest to the one that is the library's forward pass itself."""


class UncachedBackend:
    """Computes sequences from their first token; causal models are padded on the right, which changes nothing before.

    Args:
        parts: The model.
        pad: Id put behind shorter sequences; they are masked, so any id will do.
        way: Which shortcuts are used.
    """

    def __init__(self, parts: Architecture, pad: int = 0, way: Way = WAYS[0]) -> None:
        self._parts = parts
        self._pad = pad
        self._way = way
        self.computed = 0

    def outputs(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Outputs after the last token of each sequence, in padded batches of similar lengths."""
        import torch

        def last(output: Tensor, hidden: Tensor | None, ids: Tensor, index: int) -> Tensor:
            return output

        return torch.stack(self._each(sequences, last))

    def logs(self, sequences: Sequence[Sequence[int]], spans: Sequence[Span]) -> list[TokenLogs]:
        """How likely the tokens of one span of each sequence are; everything is computed for it once more."""
        head = self._parts.vocabulary if self._parts.head is not None else _as_they_are
        assert head is not None

        def read(output: Tensor, hidden: Tensor | None, ids: Tensor, index: int) -> TokenLogs:
            assert hidden is not None
            start, stop = spans[index]
            return token_logs(hidden[start - 1 : stop - 1], ids[start:stop], head)

        return self._each(sequences, read)

    def decode(self, prompts: Sequence[Sequence[int]], counts: Rows, limits: Rows) -> UncachedDecoding:
        """Start branches; the prompts are computed here, each by itself."""
        return UncachedDecoding(self, self._parts.model, prompts, counts, self._way.states)

    def _each(
        self, sequences: Sequence[Sequence[int]], take: Callable[[Tensor, Tensor | None, Tensor, int], Taken]
    ) -> list[Taken]:
        """Compute all sequences, and take from each what is wanted of it.

        Args:
            take: Given a sequence's output (outputs,), its hidden states (tokens, width), its ids (tokens,) and its
                number; padding lies behind. Where only the whole model gives outputs, the logits (tokens, vocabulary)
                stand for the hidden states, and None where these are not of a language model.
        """
        order = sorted(range(len(sequences)), key=lambda index: (len(sequences[index]), index))
        found: dict[int, Taken] = {}
        for batch in self._batches(sequences, order):
            outputs, hidden, ids = self._batch([sequences[index] for index in batch])
            for row, index in enumerate(batch):
                found[index] = take(outputs[row], None if hidden is None else hidden[row], ids[row], index)
        return [found[index] for index in range(len(sequences))]

    def _batches(self, sequences: Sequence[Sequence[int]], order: list[int]) -> list[list[int]]:
        batches: list[list[int]] = []
        for index in order:
            if self._way.padded and batches and (len(batches[-1]) + 1) * len(sequences[index]) <= BATCH_TOKENS:
                batches[-1].append(index)
            else:
                batches.append([index])
        return batches

    def _batch(self, sequences: list[Sequence[int]]) -> tuple[Tensor, Tensor | None, Tensor]:
        import torch

        longest = max(len(sequence) for sequence in sequences)
        device = self._parts.model.device
        ids = torch.full((len(sequences), longest), self._pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(sequence)
            mask[row, : len(sequence)] = 1
        ids, mask = ids.to(device), mask.to(device)
        masked = {"attention_mask": mask} if self._way.padded else {}
        last = torch.tensor([len(sequence) - 1 for sequence in sequences], device=device)
        at = torch.arange(len(sequences), device=device)
        hidden: Tensor | None = None
        with torch.inference_mode():
            forget_length(self._parts.model)
            if self._parts.head is None:
                outputs: Tensor = self._parts.model(input_ids=ids, **masked).logits
                hidden = outputs if outputs.ndim == 3 else None
            else:
                hidden = self._parts.backbone(input_ids=ids, use_cache=False, **masked).last_hidden_state
                outputs = self._parts.head(hidden[at, last])
        self.computed += ids.numel()
        return outputs[at, last] if outputs.ndim == 3 else outputs, hidden, ids


def _as_they_are(logits: Tensor) -> Tensor:
    return logits
