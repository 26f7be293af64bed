"""llama.cpp as a backend of the generation loop: branches that agree so far are one row of one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentrm_models.llama_cpp.native import NativeContext
from agentrm_models.llama_cpp.sequences import RowsHook, SequencePool, distinct_tokens
from agentrm_models.usage import Progress, ProgressHook

if TYPE_CHECKING:
    from torch import Tensor

    from agentrm_models.trie.states import Rows


class LlamaBackend:
    """Logits for token sequences, each token computed once while it is in the pool.

    Args:
        context: Where the cells are; nobody else uses it.
        sequences: How many sequences the context has.
    """

    def __init__(self, context: NativeContext, sequences: int) -> None:
        self._context = context
        self._sequences = sequences
        self._pool = SequencePool(context, sequences)
        self._reading: RowsHook = lambda done, total: None

    def begin_call(self, progress: ProgressHook) -> None:
        """Report to this hook while prompts are read, and keep what is used from here on over the next episode."""
        self._reading = lambda done, total: progress(Progress("reading", done, total))
        self._pool.begin_round()

    def begin_episode(self) -> None:
        """Drop what the last call did not use; the instruction that all episodes share stays."""
        self._pool.forget_older_rounds()

    def close(self) -> None:
        """Free cells and weights."""
        self._context.close()
        self._context.model.close()

    @property
    def computed(self) -> int:
        """Rows decoded so far."""
        return self._pool.rows_computed

    def outputs(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Logits after the last token of each sequence (sequences, vocabulary)."""
        import torch

        rows = []
        for tokens in sequences:
            sequence, logits = self._pool.open(list(tokens), self._reading)
            self._pool.release(sequence)
            rows.append(torch.from_numpy(logits))
        return torch.stack(rows)

    def decode(self, prompts: Sequence[Sequence[int]], counts: Rows, limits: Rows) -> LlamaDecoding:
        """Start `counts[i]` branches of at most `limits[i]` tokens after `prompts[i]`, numbered in order.

        Raises:
            MemoryError: They might not fit the context's sequences or cells; fewer branches may.
        """
        needed = distinct_tokens([list(tokens) for tokens in prompts])
        needed += sum(count * limit for count, limit in zip(counts, limits, strict=True))
        if sum(counts) > 1 and (sum(counts) >= self._sequences or needed > self._context.cells):
            raise MemoryError("more branches than the context has room for")
        decoding = LlamaDecoding(self._pool)
        try:
            for tokens, count in zip(prompts, counts, strict=True):
                decoding.open(list(tokens), count, self._reading)
        except BaseException:
            decoding.close()
            raise
        return decoding


class LlamaDecoding:
    """Branches that grow from prompts; each is at a row, which it shares with those that have the same tokens."""

    def __init__(self, pool: SequencePool) -> None:
        self._pool = pool
        self._first: list[Tensor] = []
        self._sequences: list[int] = []

    def open(self, tokens: list[int], count: int, reading: RowsHook) -> None:
        """Compute a prompt and put `count` branches at its end."""
        import torch

        sequence, logits = self._pool.open(tokens, reading)
        self._first.append(torch.from_numpy(logits))
        self._sequences += [sequence] * count

    @property
    def first(self) -> Tensor:
        """Logits after each prompt (prompts, vocabulary)."""
        import torch

        return torch.stack(self._first)

    def step(self, rows: Rows, tokens: Rows) -> Tensor:
        """Append `tokens[i]` to branch `rows[i]`; logits after it (rows, vocabulary). Other branches have ended."""
        import torch

        fed: dict[tuple[int, int], tuple[int, int]] = {}
        kept: set[int] = set()
        places = []
        for branch, token in zip(rows, tokens, strict=True):
            before = self._sequences[branch]
            if (before, token) not in fed:
                sequence = self._pool.fork(before) if before in kept else before
                kept.add(before)
                fed[before, token] = (len(fed), sequence)
            place, sequence = fed[before, token]
            places.append(place)
            self._sequences[branch] = sequence
        logits = self._pool.append([(sequence, token) for (_, token), (_, sequence) in fed.items()])
        return torch.from_numpy(logits)[places]

    def close(self) -> None:
        """Keep all sequences for later calls, as long as there is room."""
        self._pool.release_all()
