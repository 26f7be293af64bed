"""How likely a policy finds whole replies that it did not write: all replies of all questions in one pass.

Replies share their history, and among themselves whatever they begin with, so each distinct token goes through the
model once: as branches of a token trie where the backend reads likelihoods, as rows that share their states elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from agentrm_models.chat import ChatEncoder
from agentrm_models.errors import DataError
from agentrm_models.messages import Conversation, Message
from agentrm_models.trie.memory import in_smaller_batches
from agentrm_models.trie.states import Backend, Span, TokenLogs
from agentrm_models.usage import ProgressHook


class ReplyQuestion(NamedTuple):
    """Replies to one conversation, which ends in a user message.

    Attributes:
        demonstrations: As in `ProposeRequest`.
    """

    conversation: Conversation
    replies: tuple[str, ...]
    demonstrations: tuple[int, ...] = ()


class ReplyLikelihood(NamedTuple):
    """How likely one reply is.

    Attributes:
        log_probability: Sum over its tokens at temperature 1, end-of-turn included, in nats.
        tokens: How many these are.
    """

    log_probability: float
    tokens: int

    @property
    def per_token(self) -> float:
        """Mean log-probability of a token, so that long replies are not at a disadvantage."""
        return self.log_probability / max(self.tokens, 1)


@runtime_checkable
class TellsLikelihood(Protocol):
    """A policy that can say how likely a reply is that it did not write."""

    def likelihoods(
        self, questions: Sequence[ReplyQuestion], progress: ProgressHook = ...
    ) -> list[list[ReplyLikelihood]]:
        """The likelihood of each reply of each question.

        Raises:
            DataError: A reply does not fit the window.
            MemoryExhaustedError: No memory left even for one reply.
            InterruptedRun: Raised by the progress hook.
        """
        ...


@runtime_checkable
class ReadsLogs(Protocol):
    """A backend that reads likelihoods of tokens it is given."""

    def logs(self, sequences: Sequence[Sequence[int]], spans: Sequence[Span]) -> list[TokenLogs]:
        """As in `ScoringBackend`."""
        ...


class EncodedQuestion(NamedTuple):
    """A question as ids: the prompt, and each reply with the end of its turn."""

    prompt: list[int]
    replies: tuple[list[int], ...]


def reply_ids(encoder: ChatEncoder, conversation: Conversation, reply: str) -> list[int]:
    """The ids of a reply as it will stand in the history, end-of-turn included.

    Raises:
        DataError: The chat template does not show replies as they were written.
    """
    last = encoder.segments((*conversation, Message("assistant", reply)))[-1]
    ids = last.ids[last.start : last.stop]
    if not ids:
        raise DataError(
            f"the model's chat template does not show the reply {reply[:40]!r} as it was written",
            "Leave out --candidates valid.",
        )
    return ids


def weigh(backend: Backend, questions: Sequence[EncodedQuestion]) -> list[list[ReplyLikelihood]]:
    """The likelihood of all replies; where memory does not suffice, in several passes.

    Raises:
        MemoryExhaustedError: No memory left even for one reply.
    """

    def run(batch: Sequence[EncodedQuestion]) -> list[list[ReplyLikelihood]]:
        if isinstance(backend, ReadsLogs):
            return _read_at_once(backend, batch)
        return _read_by_steps(backend, batch)

    return in_smaller_batches(run, questions, _halve, "weighing actions")


def _read_at_once(backend: ReadsLogs, questions: Sequence[EncodedQuestion]) -> list[list[ReplyLikelihood]]:
    sequences = [[*question.prompt, *reply] for question in questions for reply in question.replies]
    starts = [len(question.prompt) for question in questions for _ in question.replies]
    spans = [Span(start, len(sequence)) for start, sequence in zip(starts, sequences, strict=True)]
    found = iter(backend.logs(sequences, spans) if sequences else ())
    answers: list[list[ReplyLikelihood]] = []
    for question in questions:
        logs = [next(found)[:, 0] for _ in question.replies]
        answers.append([ReplyLikelihood(float(values.sum(dtype="float64")), len(values)) for values in logs])
    return answers


def _read_by_steps(backend: Backend, questions: Sequence[EncodedQuestion]) -> list[list[ReplyLikelihood]]:
    """Write the replies in the model's place, a token of each a step; equal beginnings are one row of the backend."""
    import torch

    asked = [question for question in questions if question.replies]
    replies = [reply for question in asked for reply in question.replies]
    totals = [0.0] * len(replies)
    if replies:
        limits = [max(map(len, question.replies)) for question in asked]
        counts = [len(question.replies) for question in asked]
        decoding = backend.decode([question.prompt for question in asked], counts, limits)
        try:
            outputs = decoding.first[[place for place, count in enumerate(counts) for _ in range(count)]]
            live = list(range(len(replies)))
            for position in range(max(limits)):
                tokens = torch.tensor([replies[row][position] for row in live], device=outputs.device)
                logs = outputs.double().log_softmax(-1).gather(1, tokens[:, None])[:, 0].tolist()
                for row, value in zip(live, logs, strict=True):
                    totals[row] += value
                live = [row for row in live if len(replies[row]) > position + 1]
                if not live:
                    break
                outputs = decoding.step(live, [replies[row][position] for row in live])
        finally:
            decoding.close()
    told = (ReplyLikelihood(total, len(reply)) for total, reply in zip(totals, replies, strict=True))
    return [[next(told) for _ in question.replies] for question in questions]


def _halve(question: EncodedQuestion) -> tuple[EncodedQuestion, EncodedQuestion] | None:
    middle = len(question.replies) // 2
    if not middle:
        return None
    return question._replace(replies=question.replies[:middle]), question._replace(replies=question.replies[middle:])
