"""A language model as a policy: one generation loop over whatever computes its outputs.

Prompts are fitted to the window, candidates of all requests grow together, and those whose action is excluded are
sampled anew. Backends differ in how outputs are computed and kept, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol, runtime_checkable

import msgspec

from agentrm_models.call_replies import read_reply
from agentrm_models.chat import ChatEncoder
from agentrm_models.context import FittedContext, fit_context
from agentrm_models.errors import DataError
from agentrm_models.functions import ActionFunctions
from agentrm_models.generation import Branch, Prompt, generate, tokens_at_most
from agentrm_models.messages import Conversation
from agentrm_models.notices import Notice, Notices
from agentrm_models.policies.base import Candidate, Decoding, PolicyTraits, ProposeRequest
from agentrm_models.policies.reading import reading_of
from agentrm_models.policies.reply_likelihood import (
    EncodedQuestion,
    ReplyLikelihood,
    ReplyQuestion,
    reply_ids,
    weigh,
)
from agentrm_models.replies import action_of, may_take_input
from agentrm_models.sampling import check_decoding
from agentrm_models.tool_chat import ToolChatEncoder
from agentrm_models.trie.backends import ClosedBackend
from agentrm_models.trie.ledger import TokenLedger
from agentrm_models.trie.memory import in_smaller_batches
from agentrm_models.trie.states import Backend
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress

ATTEMPTS = 4
"""How often a candidate is sampled at most until its action is not excluded; then it is taken as it is."""


FUNCTION_SETS = 16
"""Sets of functions whose encoders are remembered; beyond that they begin anew."""

SEVERAL_CALLS = "some replies have several calls: the first one is taken"


@runtime_checkable
class KeepsSequences(Protocol):
    """A backend outside Python's memory, which has to know when calls, episodes and its own life begin and end."""

    def begin_call(self, progress: ProgressHook) -> None:
        """A call begins; report to its hook while prompts are read."""
        ...

    def begin_episode(self) -> None:
        """Drop what the last call did not use."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class LanguageModelPolicy:
    """A causal language model as a policy.

    The weights must not change during the life of this object: states of the old ones would be reused.

    Args:
        backend: Gives the model's outputs.
        encoder: Its tokenizer and chat template.
        traits: Its name, identity, instruction and window.
        notice: What a person should know of how it was loaded.
        beginning: The id that the model wants before every text; None where the template says it all.
        stop_after_action: End a reply after a complete `Action:` line, for models that do not end their turns.

    Attributes:
        notice: As given.
    """

    def __init__(
        self,
        backend: Backend,
        encoder: ChatEncoder,
        traits: PolicyTraits,
        *,
        notice: str = "",
        beginning: int | None = None,
        stop_after_action: bool = True,
    ) -> None:
        self.notice = notice
        self._backend = backend
        self._encoder = encoder
        self._traits = traits
        self._beginning = beginning
        self._stop_after_action = stop_after_action
        self._tool_encoders: dict[str, ToolChatEncoder] = {}
        self._notices = Notices()
        self._ledger = TokenLedger()
        self._usage = Usage()

    @property
    def traits(self) -> PolicyTraits:
        """Fixed facts about this policy."""
        return self._traits

    @property
    def usage(self) -> Usage:
        """Cost of all calls so far."""
        return self._usage

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        """Sample candidates for all requests together.

        A candidate whose action is excluded is sampled again a few times, then it stays. A candidate that fills the
        window ends there.

        Raises:
            UsageError: Temperature 0 with several candidates.
            MemoryExhaustedError: No memory left even for one sequence.
            InterruptedRun: Raised by the progress hook.
        """
        for request in requests:
            check_decoding(request.decoding, request.n)
        contexts = [self._fit_request(request) for request in requests]
        prompts = [self._prompt(request, context) for request, context in zip(requests, contexts, strict=True)]
        branches: list[dict[int, Branch]] = [{} for _ in requests]
        with self._counted(contexts, progress):
            for attempt in range(ATTEMPTS):
                self._sample(requests, prompts, branches, attempt, progress)
        return [[numbered[number].candidate() for number in sorted(numbered)] for numbered in branches]

    def likelihoods(
        self, questions: Sequence[ReplyQuestion], progress: ProgressHook = ignore_progress
    ) -> list[list[ReplyLikelihood]]:
        """How likely replies are that it did not write; see `reply_likelihood.TellsLikelihood`."""
        encoded, contexts = list[EncodedQuestion](), list[FittedContext]()
        for conversation, texts, demonstrations in questions:
            replies = tuple(reply_ids(self._encoder, conversation, text) for text in texts)
            longest = max(map(len, replies), default=0)
            context = self._fit(conversation, longest, demonstrations)
            if 0 < self._traits.context_length < len(context.ids) + longest:
                raise DataError(f"an action of {longest} tokens does not fit the window of {self._traits.name}")
            encoded.append(EncodedQuestion([*context.ids, *self._behind_reasoning()], replies))
            contexts.append(context)
        total = sum(len(question.replies) for question in encoded)
        with self._counted(contexts, progress):
            progress(Progress("weighing actions", 0, total))
            found = weigh(self._backend, encoded)
            progress(Progress("weighing actions", total, total))
            for question in encoded:
                history = self._ledger.add(question.prompt)
                for reply in question.replies:
                    self._ledger.add(reply, history)
        return found

    def _behind_reasoning(self) -> list[int]:
        """What ends the reasoning that the template opens before every reply."""
        return self._encoder.closing_ids(self._encoder.opened) if self._encoder.opened else []

    @contextmanager
    def _counted(self, contexts: Sequence[FittedContext], progress: ProgressHook) -> Iterator[None]:
        """One call of the backend, with what it costs."""
        started, computed, unique = perf_counter(), self._backend.computed, self._ledger.unique
        if isinstance(self._backend, KeepsSequences):
            self._backend.begin_call(progress)
        try:
            yield
        finally:
            self._usage += Usage(
                tokens_computed=self._backend.computed - computed,
                tokens_unique=self._ledger.unique - unique,
                requests=1,
                dropped_observations=sum(context.dropped for context in contexts),
                milliseconds=(perf_counter() - started) * 1e3,
            )

    def refuses_functions(self, functions: ActionFunctions) -> str:
        """Whether the chat template renders functions, calls and their results."""
        return self._tool_encoder(functions).refusal

    def new_notices(self) -> list[Notice]:
        """What was found out since the last call."""
        return self._notices.take()

    def count_tokens(self, conversation: Conversation) -> int:
        """Tokens of a conversation and of what begins the next reply, nothing left out."""
        return len(self._encoder.ids(conversation, True))

    def new_episode(self) -> None:
        """Tell a backend that keeps sequences; others evict what is not asked for again when their cache is full."""
        if isinstance(self._backend, KeepsSequences):
            self._backend.begin_episode()

    def close(self) -> None:
        """Free the model."""
        if isinstance(self._backend, KeepsSequences):
            self._backend.close()
        self._backend = ClosedBackend()

    def _fit(
        self,
        conversation: Conversation,
        reserve: int,
        demonstrations: tuple[int, ...],
        encoder: ChatEncoder | None = None,
    ) -> FittedContext:
        """The ids that the model reads of a conversation; a reply has room up to half of the window."""
        window, encoder = self._traits.context_length, encoder or self._encoder
        if not window:
            return fit_context(encoder, conversation, 0, reserve, True)
        own = window - (self._beginning is not None)
        reserve = min(reserve, window // 2)
        context = fit_context(encoder, conversation, own, reserve, True, demonstrations)
        if self._beginning is None or context.ids[:1] == [self._beginning]:
            return context
        return context._replace(ids=[self._beginning, *context.ids])

    def _fit_request(self, request: ProposeRequest) -> FittedContext:
        encoder, (conversation, demonstrations) = self._encoder_for(request), reading_of(request)
        return self._fit(conversation, tokens_at_most(request.decoding, encoder), demonstrations, encoder)

    def _encoder_for(self, request: ProposeRequest) -> ChatEncoder:
        functions = request.offered
        return self._encoder if functions is None else self._tool_encoder(functions)

    def _tool_encoder(self, functions: ActionFunctions) -> ToolChatEncoder:
        if functions.key not in self._tool_encoders:
            if len(self._tool_encoders) >= FUNCTION_SETS:
                self._tool_encoders.clear()
            self._tool_encoders[functions.key] = ToolChatEncoder(self._encoder, functions)
        return self._tool_encoders[functions.key]

    def _prompt(self, request: ProposeRequest, context: FittedContext) -> Prompt:
        first = request.noise.first_candidate
        numbers = tuple(range(first, first + request.n))
        decoding = self._within_window(request.decoding, context)
        return Prompt(
            context.ids,
            numbers,
            decoding,
            request.noise,
            whole_turn=request.whole_turn,
            input_line=may_take_input(request.conversation),
            functions=request.offered.offered if request.offered else (),
        )

    def _within_window(self, decoding: Decoding, context: FittedContext) -> Decoding:
        """Let a reply end where the window does, when more tokens are asked for than half of it holds."""
        room = self._traits.context_length - len(context.ids)
        missing = tokens_at_most(decoding, self._encoder) - room
        if not self._traits.context_length or missing <= 0:
            return decoding
        budget = max(decoding.reasoning_tokens - missing, min(decoding.reasoning_tokens, 1))
        shorter = msgspec.structs.replace(decoding, reasoning_tokens=budget)
        missing = max(0, tokens_at_most(shorter, self._encoder) - room)
        return msgspec.structs.replace(shorter, max_tokens=max(decoding.max_tokens - missing, 1))

    def _sample(
        self,
        requests: Sequence[ProposeRequest],
        prompts: Sequence[Prompt],
        branches: list[dict[int, Branch]],
        attempt: int,
        progress: ProgressHook,
    ) -> None:
        """Sample the candidates that are missing, or whose action is excluded."""
        encoder = self._encoder_for(requests[0]) if requests else self._encoder
        places, missing = [], []
        for place, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
            numbers = tuple(number for number in prompt.numbers if _is_wanted(branches[place].get(number), request))
            if numbers:
                places.append(place)
                missing.append(prompt._replace(numbers=numbers, attempt=attempt))

        def run(batch: Sequence[Prompt]) -> list[list[Branch]]:
            return generate(self._backend, encoder, batch, self._stop_after_action, progress)

        replies = in_smaller_batches(run, missing, _halve, "generating")
        for place, prompt, fresh in zip(places, missing, replies, strict=True):
            branches[place].update(zip(prompt.numbers, fresh, strict=True))
            history = self._ledger.add(prompt.ids)
            for branch in fresh:
                self._ledger.add(branch.ids[:-1], history)
                self._read_call(branch, requests[place])
            self._usage += Usage(tokens_generated=sum(branch.sampled for branch in fresh))

    def _read_call(self, branch: Branch, request: ProposeRequest) -> None:
        """Put a reply that calls a function into the common format."""
        if (functions := request.offered) is None:
            return
        branch.text, calls = read_reply(branch.text, functions)
        if not calls:
            branch.text = self._tool_encoder(functions).without_marks(branch.text)
        if calls > 1:
            self._notices.add(f"{self._traits.name}: {SEVERAL_CALLS}")


def _is_wanted(branch: Branch | None, request: ProposeRequest) -> bool:
    if branch is None:
        return True
    return bool(request.exclude) and request.decoding.temperature > 0 and action_of(branch.text) in request.exclude


def _halve(prompt: Prompt) -> tuple[Prompt, Prompt] | None:
    """Split one prompt's candidates in two, where memory does not even suffice for one prompt."""
    middle = len(prompt.numbers) // 2
    if not middle:
        return None
    return prompt._replace(numbers=prompt.numbers[:middle]), prompt._replace(numbers=prompt.numbers[middle:])
