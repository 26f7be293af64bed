"""How a reward model reads conversations: encoded, fitted to its window, in batches that memory holds, and counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from agentrm_models.chat import ChatEncoder, encoder_of
from agentrm_models.context import Encodes, fit_context, reply_span
from agentrm_models.errors import DataError
from agentrm_models.messages import Conversation
from agentrm_models.rewards.float_heads import in_float32
from agentrm_models.rewards.heads.head import ONLY_OUTPUT, RewardHead
from agentrm_models.rewards.heads.places import placed
from agentrm_models.rewards.whole_text import WholeModelBackend, WholeTextEncoder, reads_both_ways
from agentrm_models.trie.backends import ONLY_WHOLE, ClosedBackend, cache_notice, choose_backend, has_own_head
from agentrm_models.trie.ledger import TokenLedger
from agentrm_models.trie.memory import in_smaller_batches
from agentrm_models.trie.states import ScoringBackend, TokenLogs, architecture_of
from agentrm_models.usage import Progress, ProgressHook, Usage

Found = TypeVar("Found")

BATCH_SEQUENCES = 512
"""Conversations read between two calls of the progress hook."""


class Encoded(NamedTuple):
    """A conversation that ends in a reply, as ids.

    Attributes:
        dropped: Observations left out, so that it fits the window.
    """

    conversation: Conversation
    ids: list[int]
    dropped: int


def _nothing() -> None:
    return None


class ConversationReader:
    """A backend that reads conversations.

    Args:
        backend: Gives outputs for ids.
        encoder: The chat encoder, to find replies.
        placed: Gives ids that end where the head is read.
        columns: The outputs that count, in their order.
        context_length: Tokens the model can read; 0 where there is no limit.
        tells_likelihood: Whether it is known how likely the model finds a token.
        notice: Says why there is no prefix cache; empty where there is one.
        free: Frees the model.

    Attributes:
        usage: Cost of all calls so far.
    """

    def __init__(
        self,
        backend: ScoringBackend,
        encoder: ChatEncoder,
        placed: Encodes,
        *,
        columns: Sequence[int] = (0,),
        context_length: int = 0,
        tells_likelihood: bool = False,
        notice: str = "",
        free: Callable[[], None] = _nothing,
    ) -> None:
        self._backend, self._encoder, self._placed, self._free = backend, encoder, placed, free
        self._columns = list(columns)
        self.context_length, self.tells_likelihood, self.notice = context_length, tells_likelihood, notice
        self._ledger = TokenLedger()
        self.usage = Usage()

    def outputs(self, conversations: Sequence[Conversation], progress: ProgressHook) -> list[list[float]]:
        """The outputs that count, in their order, where the head is read in each conversation.

        Raises:
            MemoryExhaustedError: No memory left even for one sequence.
            InterruptedRun: Raised by the progress hook.
        """
        return self._read(conversations, self._outputs, progress)

    def logs(self, conversations: Sequence[Conversation], progress: ProgressHook) -> list[TokenLogs]:
        """How likely the model finds the tokens of the reply that ends each conversation; errors as above."""
        return self._read(conversations, self._logs, progress)

    def both(
        self, conversations: Sequence[Conversation], progress: ProgressHook
    ) -> list[tuple[list[float], TokenLogs]]:
        """Outputs and logs, which a prefix cache gets from the same rows; errors as above."""
        return self._read(conversations, self._both, progress)

    def close(self) -> None:
        """Free the model."""
        self._backend = ClosedBackend()
        self._free()

    def _outputs(self, batch: Sequence[Encoded]) -> list[list[float]]:
        outputs = self._backend.outputs([item.ids for item in batch]).reshape(len(batch), -1)
        rows: list[list[float]] = outputs[:, self._columns].float().tolist()
        return rows

    def _logs(self, batch: Sequence[Encoded]) -> list[TokenLogs]:
        replies = [reply_span(self._encoder, item.conversation, len(item.ids)) for item in batch]
        return self._backend.logs([item.ids for item in batch], replies)

    def _both(self, batch: Sequence[Encoded]) -> list[tuple[list[float], TokenLogs]]:
        logs = self._logs(batch)
        return list(zip(self._outputs(batch), logs, strict=True))

    def _read(
        self,
        conversations: Sequence[Conversation],
        run: Callable[[Sequence[Encoded]], list[Found]],
        progress: ProgressHook,
    ) -> list[Found]:
        started, computed = time.perf_counter(), self._backend.computed
        items = [self._encode(conversation) for conversation in conversations]
        found: list[Found] = []

        def run_apart(batch: Sequence[Encoded]) -> list[list[Found]]:
            return [[result] for result in run(batch)]

        progress(Progress("scoring", 0, len(items)))
        try:
            for start in range(0, len(items), BATCH_SEQUENCES):
                batch = items[start : start + BATCH_SEQUENCES]
                rows = in_smaller_batches(run_apart, batch, _cannot_split, "scoring")
                found += [result for row in rows for result in row]
                for item in batch:
                    self._ledger.add(item.ids)
                progress(Progress("scoring", len(found), len(items)))
        finally:
            self.usage += Usage(
                tokens_computed=self._backend.computed - computed,
                tokens_unique=self._ledger.unique - self.usage.tokens_unique,
                requests=1,
                dropped_observations=sum(item.dropped for item in items),
                milliseconds=(time.perf_counter() - started) * 1e3,
            )
        return found

    def _encode(self, conversation: Conversation) -> Encoded:
        fitted = fit_context(self._placed, conversation, self.context_length, 0, False)
        return Encoded(conversation, fitted.ids, fitted.dropped)


class Reader(ConversationReader):
    """A Transformers model behind its prefix cache. The weights must not change during the life of this object.

    Args:
        model: A `transformers` model in evaluation mode. The head of a 16-bit classifier becomes a float32 one.
        tokenizer: Its tokenizer.
        cache_bytes: Limit of the prefix cache; 0 takes a share of the memory that is free.
        use_cache: False computes everything anew, for comparison.
        head: Which outputs count, and where they are read.

    Raises:
        DataError: The head is read at every step, and the model is an encoder.
    """

    def __init__(
        self, model: Any, tokenizer: Any, cache_bytes: int, use_cache: bool, head: RewardHead = ONLY_OUTPUT
    ) -> None:
        in_float32(model, head.columns if head.share else ())
        parts = architecture_of(model)
        if head.step and model.get_output_embeddings() is None:  # its outputs are a token's labels, and no next token
            parts = parts._replace(vocabulary=None)
        both_ways = reads_both_ways(parts)
        if head.step and both_ways:
            raise DataError(f"{type(model).__name__} sees what follows a step, so its steps cannot be scored alone")
        encoder = WholeTextEncoder(tokenizer) if both_ways else encoder_of(tokenizer)
        backend: ScoringBackend
        if both_ways or (model.get_output_embeddings() is None and not has_own_head(parts)):
            backend = WholeModelBackend(model, both_ways)
            notice = cache_notice(parts, "an encoder reads every text anew" if both_ways else ONLY_WHOLE)
        else:
            backend, notice = choose_backend(parts, cache_bytes, use_cache)
        super().__init__(
            backend,
            encoder,
            placed(encoder, head),
            columns=head.columns,
            context_length=parts.context_length,
            tells_likelihood=parts.vocabulary is not None and parts.head is not None and not both_ways,
            notice=notice,
        )


def _cannot_split(item: Encoded) -> None:
    return None
