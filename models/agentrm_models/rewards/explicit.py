"""Explicit reward models: a sequence classifier with one output, read at the last token of the reply.

A reward model may add how likely it finds the reply itself, as the language model that it began as: `likelihood` times
the relative log-probability of the reply's least likely token (see `prefix_cache.likelihood`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentrm_models.chat import ChatEncoder
from agentrm_models.context import FittedContext, fit_context, reply_span
from agentrm_models.errors import DataError
from agentrm_models.messages import Conversation, PromptStyle
from agentrm_models.prefix_cache.backends import ClosedBackend, choose_backend
from agentrm_models.prefix_cache.ledger import TokenLedger
from agentrm_models.prefix_cache.loading import digest_of_weights, load_folder
from agentrm_models.prefix_cache.memory import in_smaller_batches
from agentrm_models.prefix_cache.states import ScoringBackend, Span, architecture_of
from agentrm_models.rewards.base import RewardTraits, ScoreGroup
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress

BATCH_SEQUENCES = 512
"""Conversations scored between two calls of the progress hook."""


class ExplicitReward:
    """A sequence classifier as a reward model: one number for a history, thought and action.

    The number is the head's output at the last id of the encoded conversation, which is the last one that the chat
    template puts after the reply. The weights must not change during the life of this object.

    Args:
        model: A `transformers` sequence classifier with one output, in evaluation mode.
        tokenizer: Its tokenizer.
        prompt: Which instruction the model is given.
        digest: Identity of the weights; computed where empty.
        cache_bytes: Limit of the prefix cache; 0 takes a share of the memory that is free.
        use_cache: False computes everything anew, for comparison.
        likelihood: Weight of the likelihood of the reply in the reward; 0 leaves it out.

    Attributes:
        notice: Says why the prefix cache is not used; empty where it is.

    Raises:
        DataError: The model has more than one output, or a likelihood is wanted and it has no tied embedding.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str = "",
        prompt: PromptStyle = "short",
        digest: str = "",
        cache_bytes: int = 0,
        use_cache: bool = True,
        likelihood: float = 0.0,
    ) -> None:
        label = name or getattr(model, "name_or_path", "") or type(model).__name__
        if model.config.num_labels != 1:
            raise DataError(f"{label}: the reward model has {model.config.num_labels} outputs, one is needed")
        parts = architecture_of(model)
        if likelihood and (parts.vocabulary is None or parts.head is None):
            raise DataError(f"{label}: a likelihood needs a decoder whose embedding is its language-model head")
        self._likelihood = likelihood
        self._encoder = ChatEncoder(tokenizer)
        self._backend: ScoringBackend
        self._backend, self.notice = choose_backend(parts, cache_bytes, use_cache)
        self._ledger = TokenLedger()
        self._totals = Usage()
        self._traits = RewardTraits(
            label, digest or digest_of_weights(model), prompt, context_length=parts.context_length
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: str = "auto",
        threads: int = 0,
        cache_bytes: int = 0,
        trust_remote_code: bool = False,
        name: str = "",
    ) -> ExplicitReward:
        """Load a local model folder: float32 on a CPU, bfloat16 on a GPU.

        Raises:
            DataError: The folder is missing, incomplete, cut off, of another kind, or has more than one output.
            MemoryExhaustedError: The weights do not fit.
        """
        found = load_folder(Path(path), "reward", device, threads, trust_remote_code)
        return cls(
            found.model,
            found.tokenizer,
            name=name or str(path),
            prompt=found.prompt or "short",
            digest=found.digest,
            cache_bytes=cache_bytes,
            likelihood=found.likelihood,
        )

    @property
    def traits(self) -> RewardTraits:
        """Fixed facts about this reward model."""
        return self._traits

    @property
    def usage(self) -> Usage:
        """Cost of all calls so far."""
        return self._totals

    def score(self, groups: Sequence[ScoreGroup], progress: ProgressHook = ignore_progress) -> list[list[float]]:
        """Score all conversations of all groups together.

        Raises:
            DataError: The model gives a number that is not finite.
            MemoryExhaustedError: No memory left even for one sequence.
            InterruptedRun: Raised by the progress hook.
        """
        started, computed = time.perf_counter(), self._backend.computed
        fitted = [self._fit(item) for group in groups for item in group.items]
        try:
            spans = []
            if self._likelihood:
                items = (item for group in groups for item in group.items)
                spans = [reply_span(self._encoder, *pair) for pair in zip(items, map(_length, fitted), strict=True)]
            values = self._values([context.ids for context in fitted], spans, progress)
        finally:
            self._totals += Usage(
                tokens_computed=self._backend.computed - computed,
                tokens_unique=self._ledger.unique - self._totals.tokens_unique,
                requests=1,
                dropped_observations=sum(context.dropped for context in fitted),
                milliseconds=(time.perf_counter() - started) * 1e3,
            )
        remaining = iter(values)
        return [[next(remaining) for _ in group.items] for group in groups]

    def new_episode(self) -> None:
        """Nothing to do: what is not asked for again is evicted when the cache is full."""

    def close(self) -> None:
        """Free the model."""
        self._backend = ClosedBackend()

    def _fit(self, conversation: Conversation) -> FittedContext:
        window = self._traits.context_length
        return fit_context(self._encoder, conversation, window, 0, False)

    def _values(self, sequences: list[list[int]], spans: list[Span], progress: ProgressHook) -> list[float]:
        values: list[float] = []
        progress(Progress("scoring", 0, len(sequences)))
        for start in range(0, len(sequences), BATCH_SEQUENCES):
            batch = sequences[start : start + BATCH_SEQUENCES]
            asked = spans[start : start + BATCH_SEQUENCES] or [Span(1, 1)] * len(batch)
            pairs = list(zip(batch, asked, strict=True))
            values += [value for row in in_smaller_batches(self._run, pairs, _cannot_split, "scoring") for value in row]
            for sequence in batch:
                self._ledger.add(sequence)
            progress(Progress("scoring", len(values), len(sequences)))
        for value in values:
            if not math.isfinite(value):
                raise DataError(f"{self._traits.name}: the reward model gave {value}", "Its weights are damaged.")
        return values

    def _run(self, asked: Sequence[tuple[list[int], Span]]) -> list[list[float]]:
        sequences = [sequence for sequence, _ in asked]
        if self._likelihood:
            outputs, least = self._backend.outputs_and_likelihoods(sequences, [span for _, span in asked])
            values = outputs.float().cpu().reshape(len(asked)) + self._likelihood * least
        else:
            values = self._backend.outputs(sequences).float().reshape(len(asked))
        rows: list[list[float]] = values[:, None].tolist()
        return rows


def _cannot_split(asked: tuple[list[int], Span]) -> None:
    return None


def _length(context: FittedContext) -> int:
    return len(context.ids)
