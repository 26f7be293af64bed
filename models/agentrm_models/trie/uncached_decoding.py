"""Branches that grow by the library's own states of earlier tokens, whatever a model calls these, or without any."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from agentrm_models.trie.check import forget_length
from agentrm_models.trie.reach import length_positions
from agentrm_models.trie.states import Rows
from agentrm_models.trie.tree_attention import UnsupportedAttentionError

if TYPE_CHECKING:
    from torch import Tensor

_STATES = ("past_key_values", "cache_params", "state")
"""What models call their states, in their outputs and as an argument: keys and values, or those of recurrent layers."""


class _Counts(Protocol):
    computed: int


class _Named(NamedTuple):
    """States under the name that a model gives them."""

    name: str
    held: Any

    def batch_repeat_interleave(self, count: int) -> None:
        """As the library's caches do, where these can."""
        self.held.batch_repeat_interleave(count)


class _Read(NamedTuple):
    """What the model gives for tokens of a batch.

    Attributes:
        logits: After the last token of each row (rows, vocabulary).
        states: The library's states after it; None where none are kept.
    """

    logits: Tensor
    states: _Named | None


class UncachedDecoding:
    """Branches of several prompts: each prompt is a batch of its own, so nothing is padded.

    Branches that have ended stay in their batch while others of it go on, and are counted as computed.

    Args:
        backend: Where computed tokens are counted.
        states: See `uncached.Way`.
    """

    def __init__(
        self,
        backend: _Counts,
        model: Any,
        prompts: Sequence[Sequence[int]],
        counts: Rows,
        states: Literal["joined", "apart", "anew"],
    ) -> None:
        import torch

        self._backend = backend
        self._model = model
        self._way = states
        self._positions = length_positions(model.config.get_text_config())
        self._home = [(request, k) for request, n in enumerate(counts) for k in range(n)]
        self._counts = counts
        self._written = [list(prompts[request]) for request, _ in self._home]
        read = [self._whole(prompt) for prompt in prompts]
        self.first = torch.stack([each.logits[0] for each in read])
        self._states: dict[int, Any] = {}
        self._shared: set[int] = set()
        if states == "joined":
            self._states = {request: each.states for request, each in enumerate(read)}
            for request, count in enumerate(counts):
                if count > 1:
                    self._states[request].batch_repeat_interleave(count)
        elif states == "apart":
            self._states = {row: read[request].states for row, (request, _) in enumerate(self._home)}
            self._shared = {row for row, (request, _) in enumerate(self._home) if counts[request] > 1}

    def step(self, rows: Rows, tokens: Rows) -> Tensor:
        """Append one token to each of `rows`."""
        import torch

        for row, token in zip(rows, tokens, strict=True):
            self._written[row].append(token)
        if self._way == "joined":
            return self._step_joined(rows, tokens)
        return torch.stack([self._step_alone(row) for row in rows])

    def close(self) -> None:
        """Free the states."""
        self._states.clear()

    def _step_joined(self, rows: Rows, tokens: Rows) -> Tensor:
        """Prompt by prompt, all branches of a prompt as one batch."""
        import torch

        fed: dict[int, dict[int, int]] = {}
        for row, token in zip(rows, tokens, strict=True):
            request, branch = self._home[row]
            fed.setdefault(request, {})[branch] = token
        outputs: dict[tuple[int, int], Tensor] = {}
        for request, branches in fed.items():
            column = [[branches.get(branch, 0)] for branch in range(self._counts[request])]
            read = self._run(column, self._states[request])
            self._states[request] = read.states
            outputs |= {(request, branch): read.logits[branch] for branch in branches}
        return torch.stack([outputs[self._home[row]] for row in rows])

    def _step_alone(self, row: int) -> Tensor:
        """One branch with states of its own, computed anew where its positions change."""
        text = self._written[row]
        if self._way == "anew" or (self._positions is not None and self._positions.turns_at(len(text))):
            read = self._whole(text)
        else:
            if row in self._shared:
                self._states[row] = copy.deepcopy(self._states[row])
            read = self._run([text[-1:]], self._states[row])
        if self._way == "apart":
            self._states[row] = read.states
            self._shared.discard(row)
        return read.logits[0]

    def _whole(self, text: Sequence[int]) -> _Read:
        import torch

        with torch.inference_mode():
            forget_length(self._model)
        return self._run([list(text)], None)

    def _run(self, ids: list[list[int]], states: _Named | None) -> _Read:
        """Feed rows of tokens after states that are known by their kind.

        Raises:
            UnsupportedAttentionError: The model keeps no states that can be given back to it.
        """
        import torch

        given: dict[str, Any] = {}
        if self._way != "anew":
            given["use_cache"] = True
            if states is not None:
                given[states.name] = states.held
        with torch.inference_mode():
            result = self._model(input_ids=torch.tensor(ids, device=self._model.device), **given)
        self._backend.computed += sum(map(len, ids))
        return _Read(result.logits[:, -1], None if self._way == "anew" else _states_of(result))


def _states_of(result: Any) -> _Named:
    for name in _STATES:
        held = getattr(result, name, None)
        if held is not None:
            return _Named(name, held)
    raise UnsupportedAttentionError("the library keeps no states of it")
