"""Policies from Transformers folders: our own generation loop over a prefix cache."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agentrm_models.chat import ChatEncoder
from agentrm_models.context import FittedContext, fit_context
from agentrm_models.generation import Branch, Prompt, action_of, generate
from agentrm_models.loading import digest_of_weights, load_folder
from agentrm_models.messages import Conversation, PromptStyle
from agentrm_models.policies.base import Candidate, Decoding, PolicyTraits, ProposeRequest
from agentrm_models.trie.backends import ClosedBackend, choose_backend
from agentrm_models.trie.ledger import TokenLedger
from agentrm_models.trie.memory import in_smaller_batches
from agentrm_models.trie.states import Backend, architecture_of
from agentrm_models.usage import ProgressHook, Usage, ignore_progress

EXCLUDE_ATTEMPTS = 3
"""How often a candidate with an excluded action is sampled anew before it is taken as it is."""


class TransformersPolicy:
    """A causal language model as a policy.

    The weights must not change during the life of this object: states of the old ones would be reused.

    Args:
        model: A `transformers` causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        prompt: Which instruction the model is given.
        digest: Identity of the weights; computed where empty.
        cache_bytes: Limit of the prefix cache; 0 takes a share of the memory that is free.
        use_cache: False computes everything anew, for comparison.
        stop_after_action: End a reply after a complete `Action:` line, for models that do not end their turns.

    Attributes:
        notice: Says why the prefix cache is not used; empty where it is.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str = "",
        prompt: PromptStyle = "full",
        digest: str = "",
        cache_bytes: int = 0,
        use_cache: bool = True,
        stop_after_action: bool = True,
    ) -> None:
        parts = architecture_of(model)
        self._encoder = ChatEncoder(tokenizer, _stop_ids(model))
        self._backend: Backend
        self._backend, self.notice = choose_backend(parts, cache_bytes, use_cache)
        self._ledger = TokenLedger()
        self._stop_after_action = stop_after_action
        self._totals = Usage()
        self._traits = PolicyTraits(
            name or getattr(model, "name_or_path", "") or type(model).__name__,
            digest or digest_of_weights(model),
            prompt,
            context_length=parts.context_length,
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
    ) -> TransformersPolicy:
        """Load a local model folder: float32 on a CPU, bfloat16 on a GPU.

        Args:
            device: `auto` takes a GPU where there is one; otherwise a torch device name.
            threads: Threads torch computes with; 0 leaves torch's choice.

        Raises:
            DataError: The folder is missing, incomplete, cut off or of another kind.
            MemoryExhaustedError: The weights do not fit.
        """
        found = load_folder(Path(path), "policy", device, threads, trust_remote_code)
        return cls(
            found.model,
            found.tokenizer,
            name=name or str(path),
            prompt=found.settings.prompt or "full",
            digest=found.digest,
            cache_bytes=cache_bytes,
        )

    @property
    def traits(self) -> PolicyTraits:
        """Fixed facts about this policy."""
        return self._traits

    @property
    def usage(self) -> Usage:
        """Cost of all calls so far."""
        return self._totals

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        """Sample candidates for all requests together.

        Raises:
            UsageError: Temperature 0 with several candidates.
            MemoryExhaustedError: No memory left even for one sequence.
            InterruptedRun: Raised by the progress hook.
        """
        from agentrm_models.sampling import check_decoding

        started, computed = time.perf_counter(), self._backend.computed
        for request in requests:
            check_decoding(request.decoding, request.n)
        fitted = [self._fit(request) for request in requests]
        prompts = [
            Prompt(
                context.ids,
                _numbers(request),
                self._within_window(request.decoding, context),
                request.noise,
                whole_turn=request.whole_turn,
            )
            for request, context in zip(requests, fitted, strict=True)
        ]
        try:
            found = self._generate(prompts, progress)
            self._resample(requests, prompts, found, progress)
        finally:
            self._totals += Usage(
                tokens_computed=self._backend.computed - computed,
                tokens_unique=self._ledger.unique - self._totals.tokens_unique,
                requests=1,
                dropped_observations=sum(context.dropped for context in fitted),
                milliseconds=(time.perf_counter() - started) * 1e3,
            )
        return [[branch.candidate() for branch in branches] for branches in found]

    def count_tokens(self, conversation: Conversation) -> int:
        """Tokens of a conversation and of what begins the next reply, nothing left out."""
        return len(self._encoder.ids(conversation, True))

    def new_episode(self) -> None:
        """Nothing to do: what is not asked for again is evicted when the cache is full."""

    def close(self) -> None:
        """Free the model."""
        self._backend = ClosedBackend()

    def _fit(self, request: ProposeRequest) -> FittedContext:
        window = self._traits.context_length
        reserve = min(request.decoding.max_tokens, window // 2) if window else request.decoding.max_tokens
        return fit_context(self._encoder, request.conversation, window, reserve, True)

    def _within_window(self, decoding: Decoding, context: FittedContext) -> Decoding:
        """Let a reply end where the window does, when more tokens are asked for than half of it holds."""
        room = self._traits.context_length - len(context.ids)
        if not self._traits.context_length or decoding.max_tokens <= room:
            return decoding
        return msgspec.structs.replace(decoding, max_tokens=max(room, 1))

    def _generate(self, prompts: Sequence[Prompt], progress: ProgressHook) -> list[list[Branch]]:
        def run(batch: Sequence[Prompt]) -> list[list[Branch]]:
            return generate(self._backend, self._encoder, batch, self._stop_after_action, progress)

        wanted = [prompt for prompt in prompts if prompt.numbers]
        answered = iter(in_smaller_batches(run, wanted, _halve_prompt, "generating"))
        found = [next(answered) if prompt.numbers else [] for prompt in prompts]
        for prompt, branches in zip(prompts, found, strict=True):
            history = self._ledger.add(prompt.ids)
            for branch in branches:
                self._ledger.add(branch.ids[:-1], history)
        generated = sum(len(branch.ids) for branches in found for branch in branches)
        self._totals += Usage(tokens_generated=generated)
        return found

    def _resample(
        self,
        requests: Sequence[ProposeRequest],
        prompts: Sequence[Prompt],
        found: list[list[Branch]],
        progress: ProgressHook,
    ) -> None:
        """Replace candidates whose action is excluded, a few times; then take them as they are."""
        for attempt in range(1, EXCLUDE_ATTEMPTS + 1):
            again = [
                tuple(k for k, branch in enumerate(branches) if action_of(branch.text) in request.exclude)
                if request.exclude and request.decoding.temperature
                else ()
                for request, branches in zip(requests, found, strict=True)
            ]
            if not any(again):
                return
            retried = self._generate(
                [
                    prompt._replace(numbers=tuple(prompt.numbers[k] for k in ks), attempt=attempt)
                    for prompt, ks in zip(prompts, again, strict=True)
                ],
                progress,
            )
            for branches, ks, fresh in zip(found, again, retried, strict=True):
                for k, branch in zip(ks, fresh, strict=True):
                    branches[k] = branch


def _numbers(request: ProposeRequest) -> tuple[int, ...]:
    first = request.noise.first_candidate
    return tuple(range(first, first + request.n))


def _halve_prompt(prompt: Prompt) -> tuple[Prompt, Prompt] | None:
    """Split one prompt's candidates in two, where memory does not even suffice for one prompt."""
    middle = len(prompt.numbers) // 2
    if middle == 0:
        return None
    return prompt._replace(numbers=prompt.numbers[:middle]), prompt._replace(numbers=prompt.numbers[middle:])


def _stop_ids(model: Any) -> tuple[int, ...]:
    """Ids that the model's generation configuration ends at."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return tuple(ends) if isinstance(ends, list | tuple) else (ends,) if isinstance(ends, int) else ()
