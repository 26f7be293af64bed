"""A pool of llama.cpp sequences that share the cells of their common beginnings: the prefix cache of a GGUF policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy
from numpy.typing import NDArray

from agentrm_models.errors import MemoryExhaustedError
from agentrm_models.llama_cpp.native import BATCH_ROWS, NativeContext

RowsHook: TypeAlias = Callable[[int, int], None]
"""Called with the prompt rows done and the rows to do."""


def common_prefix(left: list[int], right: list[int]) -> int:
    """Length of the longest common beginning, by bisection over slices (fast for lists of thousands)."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def distinct_tokens(prompts: Sequence[list[int]]) -> int:
    """Cells that prompts need together when their common beginnings are shared."""
    ordered = sorted(prompts)
    shared = sum(common_prefix(left, right) for left, right in pairwise(ordered))
    return sum(map(len, ordered)) - shared


class SequencePool:
    """Sequences in use, and those kept for later, which are evicted least recently used first.

    Args:
        context: Where the cells are; nobody else uses it.
        sequences: How many sequences the context has.
    """

    def __init__(self, context: NativeContext, sequences: int) -> None:
        self._context = context
        self._free = list(range(sequences - 1, -1, -1))
        self._tokens: dict[int, list[int]] = {}
        self._kept: dict[int, int] = {}
        self._round = 0
        self.rows_computed = 0

    @property
    def kept(self) -> int:
        """Number of sequences that are kept for later."""
        return len(self._kept)

    def begin_round(self) -> None:
        """Mark the start of a call: `forget_older_rounds` keeps what is used from here on."""
        self._round += 1

    def forget_older_rounds(self) -> None:
        """Drop what the last call did not use."""
        for sequence in [number for number, used in self._kept.items() if used < self._round]:
            self._drop(sequence)

    def open(self, tokens: list[int], done: RowsHook) -> tuple[int, NDArray[numpy.float32]]:
        """Start a sequence with these tokens, computing only those that no other sequence has.

        Returns:
            Its number, and the logits after its last token (vocabulary).
        """
        source = max(self._tokens, key=lambda number: common_prefix(self._tokens[number], tokens), default=None)
        known = 0 if source is None else min(common_prefix(self._tokens[source], tokens), len(tokens) - 1)
        if source in self._kept:
            del self._kept[source]
            self._kept[source] = self._round
        sequence = self._take(source)
        if source is not None and known and source in self._tokens:
            self._context.copy(source, sequence)
            if known < len(self._tokens[source]) and not self._context.cut(sequence, known):
                self._context.drop(sequence)
                known = 0
        else:
            known = 0
        self._tokens[sequence] = tokens[:known]
        logits = None
        for start in range(known, len(tokens), BATCH_ROWS):
            done(start - known, len(tokens) - known)
            logits = self.append([(sequence, token) for token in tokens[start : start + BATCH_ROWS]], last=True)
        if logits is None:
            raise AssertionError("a sequence needs at least one token")
        return sequence, logits[0]

    def fork(self, sequence: int) -> int:
        """Start a sequence that shares all cells of another one."""
        child = self._take(sequence)
        self._context.copy(sequence, child)
        self._tokens[child] = self._tokens[sequence].copy()
        return child

    def append(self, rows: Sequence[tuple[int, int]], last: bool = False) -> NDArray[numpy.float32]:
        """Compute (sequence, token) rows together; logits of each row, or of the last row only.

        Raises:
            MemoryExhaustedError: The rows do not fit even with nothing kept.
        """
        results = []
        for start in range(0, len(rows), BATCH_ROWS):
            part = rows[start : start + BATCH_ROWS]
            results.append(self._append(part, [not last or place == len(part) - 1 for place in range(len(part))]))
        return numpy.concatenate(results) if len(results) != 1 else results[0]

    def _append(self, rows: Sequence[tuple[int, int]], wanted: list[bool]) -> NDArray[numpy.float32]:
        tokens, sequences = [token for _, token in rows], [sequence for sequence, _ in rows]
        ends = {sequence: len(self._tokens[sequence]) for sequence in sequences}
        positions = []
        for sequence in sequences:
            positions.append(ends[sequence])
            ends[sequence] += 1
        while (logits := self._context.decode(tokens, positions, sequences, wanted)) is None:
            if not self._kept:
                raise MemoryExhaustedError(
                    f"the key/value cache of {self._context.cells} tokens is full", "Raise the cache limit."
                )
            self._drop(next(iter(self._kept)))
        for sequence, token in rows:
            self._tokens[sequence].append(token)
        self.rows_computed += len(rows)
        return logits

    def release(self, sequence: int) -> None:
        """Keep a sequence for later calls, as long as there is room."""
        self._kept[sequence] = self._round

    def release_all(self) -> None:
        """Keep everything: called when a call ends, also when it was interrupted."""
        for sequence in self._tokens:
            if sequence not in self._kept:
                self._kept[sequence] = self._round

    def clear(self) -> None:
        """Forget all sequences."""
        for sequence in list(self._tokens):
            self._kept.setdefault(sequence, 0)
            self._drop(sequence)

    def _take(self, keep: int | None) -> int:
        """A free number, by eviction if need be, but not of `keep` while there is another one."""
        if not self._free:
            spare = next((number for number in self._kept if number != keep), None)
            if spare is None and keep in self._kept:
                spare = keep
            if spare is None:
                raise AssertionError("all sequences are in use; the caller must work in waves")
            self._drop(spare)
        return self._free.pop()

    def _drop(self, sequence: int) -> None:
        self._context.drop(sequence)
        del self._kept[sequence], self._tokens[sequence]
        self._free.append(sequence)
