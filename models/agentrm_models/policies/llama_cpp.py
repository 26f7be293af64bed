"""GGUF policies through llama.cpp: every token of a search tree is computed once, in one context.

A prompt is decoded on one sequence, whose cells its candidates share; candidates that have sampled the same tokens so
far are one row. After a call the sequences are kept, so the reply that a search goes on with is not computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import msgspec

from agentrm_models.chat import ChatEncoder
from agentrm_models.context import fit_context
from agentrm_models.errors import DataError
from agentrm_models.generation import Branch, Prompt, action_of, generate
from agentrm_models.llama_cpp.backend import LlamaBackend
from agentrm_models.llama_cpp.gguf_export import PROBE_KEY, PROMPT_KEY
from agentrm_models.llama_cpp.gguf_tokenizer import GGUFTokenizer
from agentrm_models.llama_cpp.native import NativeContext, NativeModel
from agentrm_models.messages import Conversation, PromptStyle
from agentrm_models.policies.base import Candidate, PolicyTraits, ProposeRequest
from agentrm_models.sampling import check_decoding
from agentrm_models.trie.ledger import TokenLedger
from agentrm_models.trie.memory import in_smaller_batches
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress
from agentrm_models.weight_files import file_digest

LONGEST_CONTEXT = 8_192
"""Context length used at most when no cache limit is given: foreign models declare up to a million tokens."""

SPARE_CELLS = 2_048
"""Cells beyond one full context, for candidates and for what is kept between calls."""

SEQUENCES = 64
"""Sequences of a context: candidates in flight together with beginnings that are kept."""

ATTEMPTS = 4
"""How often a candidate is sampled at most until its action is not excluded."""


class LlamaCppPolicy:
    """A causal language model in a GGUF file.

    Args:
        file: Any architecture that llama.cpp can decode.
        name: Shown on screen; the file's name if empty.
        prompt: Which instruction the model is given; None takes what the file says, or `full`.
        device: `auto` uses a GPU if llama.cpp was built for one, `cpu` never.
        threads: CPU threads; 0 takes half of the machine's.
        cache_bytes: Limit of the key/value cache; 0 gives one context (at most 8,192 tokens) and room for candidates.
        exact: 32-bit cache without flash attention, to compare with another library.
        sequences: Candidates and kept beginnings that can exist at once; more candidates are sampled in waves.
        stop_after_action: End a reply after a complete `Action:` line, for models that do not end their turns.

    Raises:
        DataError: The package is missing, the file cannot be loaded, its chat template is broken, or it tokenises
            otherwise than the tokenizer it was exported from.
        MemoryExhaustedError: No memory for the cache.
    """

    def __init__(
        self,
        file: Path,
        *,
        name: str = "",
        prompt: PromptStyle | None = None,
        device: str = "auto",
        threads: int = 0,
        cache_bytes: int = 0,
        exact: bool = False,
        sequences: int = SEQUENCES,
        stop_after_action: bool = True,
    ) -> None:
        self._model = NativeModel(file, device=device)
        _check_probe(self._model)
        self._encoder = ChatEncoder(GGUFTokenizer(self._model), tuple(sorted(self._model.stop_tokens())))
        self._beginning = self._model.adds_beginning()
        self._window, cells = _room(self._model, cache_bytes, exact)
        self._context = NativeContext(self._model, cells=cells, sequences=sequences, threads=threads, exact=exact)
        self._backend = LlamaBackend(self._context, sequences)
        self._stop_after_action = stop_after_action
        self._ledger = TokenLedger()
        self._usage = Usage()
        style = prompt or ("short" if self._model.metadata(PROMPT_KEY) == "short" else "full")
        self._traits = PolicyTraits(name or file.name, file_digest(file), style, context_length=self._window)

    @property
    def traits(self) -> PolicyTraits:
        """Name, digest of the file, context length in use."""
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
        context ends there.

        Raises:
            UsageError: Temperature 0 with several candidates.
            MemoryExhaustedError: One candidate alone does not fit the cache.
            InterruptedRun: Raised by the progress hook.
        """
        started, computed, unique = perf_counter(), self._backend.computed, self._ledger.unique
        for request in requests:
            check_decoding(request.decoding, request.n)
        self._backend.pool.begin_round()
        self._backend.reading = lambda done, total: progress(Progress("reading", done, total))
        prompts, dropped, generated = [], 0, 0
        found: list[dict[int, Branch]] = [{} for _ in requests]
        try:
            for request in requests:
                prompt, left_out = self._prompt(request)
                prompts.append(prompt)
                dropped += left_out
            for attempt in range(ATTEMPTS):
                generated += self._sample(requests, prompts, found, attempt, progress)
        finally:
            self._usage += Usage(
                tokens_computed=self._backend.computed - computed,
                tokens_unique=self._ledger.unique - unique,
                tokens_generated=generated,
                requests=1,
                dropped_observations=dropped,
                milliseconds=(perf_counter() - started) * 1e3,
            )
        return [[branches[number].candidate() for number in sorted(branches)] for branches in found]

    def count_tokens(self, conversation: Conversation) -> int:
        """Tokens of a conversation and of what begins the next reply, nothing left out."""
        return len(self._encoder.ids(conversation, True))

    def new_episode(self) -> None:
        """Drop what the last call did not use; the instruction that all episodes share stays."""
        self._backend.pool.forget_older_rounds()

    def close(self) -> None:
        """Free cells and weights."""
        self._context.close()
        self._model.close()

    def prompt_ids(self, request: ProposeRequest) -> list[int]:
        """The token ids that the model reads for a request."""
        return self._prompt(request)[0].ids

    def _prompt(self, request: ProposeRequest) -> tuple[Prompt, int]:
        """A request as token ids with a limit that the context has room for, and the observations left out."""
        reserve = min(request.decoding.max_tokens, self._window // 2)
        window = self._window - (self._beginning is not None)
        ids, dropped = fit_context(self._encoder, request.conversation, window, reserve, True)
        if self._beginning is not None and ids[:1] != [self._beginning]:
            ids = [self._beginning, *ids]
        limit = min(request.decoding.max_tokens, self._window - len(ids))
        decoding = msgspec.structs.replace(request.decoding, max_tokens=limit)
        first = request.noise.first_candidate
        numbers = tuple(range(first, first + request.n))
        return Prompt(ids, numbers, decoding, request.noise, whole_turn=request.whole_turn), dropped

    def _sample(
        self,
        requests: Sequence[ProposeRequest],
        prompts: Sequence[Prompt],
        found: list[dict[int, Branch]],
        attempt: int,
        progress: ProgressHook,
    ) -> int:
        """Sample what is missing or excluded; the number of sampled tokens."""
        wanted = []
        for place, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
            numbers = tuple(number for number in prompt.numbers if _is_wanted(found[place].get(number), request))
            if numbers:
                wanted.append((place, prompt._replace(numbers=numbers, attempt=attempt)))

        def run(batch: Sequence[Prompt]) -> list[list[Branch]]:
            return generate(self._backend, self._encoder, batch, self._stop_after_action, progress)

        answers = in_smaller_batches(run, [prompt for _, prompt in wanted], _halve, "generating")
        for (place, prompt), branches in zip(wanted, answers, strict=True):
            found[place].update(zip(prompt.numbers, branches, strict=True))
            history = self._ledger.add(prompt.ids)
            for branch in branches:
                self._ledger.add(branch.ids[:-1], history)
        return sum(len(branch.ids) for branches in answers for branch in branches)


def _is_wanted(branch: Branch | None, request: ProposeRequest) -> bool:
    if branch is None:
        return True
    return bool(request.exclude) and request.decoding.temperature > 0 and action_of(branch.text) in request.exclude


def _halve(prompt: Prompt) -> tuple[Prompt, Prompt] | None:
    middle = len(prompt.numbers) // 2
    if not middle:
        return None
    return prompt._replace(numbers=prompt.numbers[:middle]), prompt._replace(numbers=prompt.numbers[middle:])


def _room(model: NativeModel, cache_bytes: int, exact: bool) -> tuple[int, int]:
    """Context length and number of cells, from the limit in bytes."""
    trained = model.trained_context or LONGEST_CONTEXT
    if not cache_bytes:
        window = min(trained, LONGEST_CONTEXT)
        return window, window + SPARE_CELLS
    cells = max(256, cache_bytes // (model.cell_bytes * (2 if exact else 1)))
    return min(trained, cells), cells


def _check_probe(model: NativeModel) -> None:
    """Repeat the token probe that an export of this project has stored in the file."""
    stored = model.metadata(PROBE_KEY)
    try:
        probe = msgspec.json.decode(stored or "[]", type=list[tuple[str, list[int]]])
    except msgspec.DecodeError:
        model.close()
        raise DataError(f"{model.file} is damaged: its token probe cannot be read", "Export it again.") from None
    for text, tokens in probe:
        if model.tokenize(text, special=False) != tokens:
            model.close()
            raise DataError(
                f"{model.file} tokenises {text[:30]!r} otherwise than the tokenizer it was made from",
                "Its pre-tokenizer label is wrong, or the file is damaged; export it again.",
            )
