"""Growing branches: one row for each prompt, in which all its branches lie side by side.

A row holds the prompt's states once, gathered from the pool, and behind them the tokens of all its branches; a mask
says which of them a branch sees. A branch that forks sees what its source saw, so common beginnings are there once.
Prompts of similar length share a batch, so that little is padded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentrm_models.trie.kv_pool import KVPool
from agentrm_models.trie.token_trie import TrieNode

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS_AHEAD = 64
"""Tokens for each branch by which a row grows at a time, if replies may be that long: growing copies the whole row."""


class BranchRow:
    """One prompt and its branches.

    Attributes:
        prompt: The trie node at which the prompt ends.
        tokens: For each branch the ids fed so far.
        columns: For each branch the columns of these ids.
        limit: Most tokens a branch may be fed.
    """

    __slots__ = ("columns", "limit", "next_column", "prompt", "tokens")

    def __init__(self, prompt: TrieNode, count: int, limit: int) -> None:
        self.prompt = prompt
        self.limit = limit
        self.tokens: list[list[int]] = [[] for _ in range(count)]
        self.columns: list[list[int]] = [[] for _ in range(count)]
        self.next_column = prompt.end

    def fork(self, source: int, branch: int) -> None:
        """Let a branch that was not fed yet begin with what its source was fed."""
        self.tokens[branch] = list(self.tokens[source])
        self.columns[branch] = list(self.columns[source])


class Fed(NamedTuple):
    """A token fed to a branch: its row in the batch, the branch in the row."""

    row: int
    branch: int
    token: int


class _Step(NamedTuple):
    """What all layers of one pass share.

    Attributes:
        write: Flat places (row * columns + column) of the fed tokens.
        place: Places (row * width + branch) of the fed branches in the grid; None where the grid is full and in order.
        columns: Columns in use.
    """

    write: Tensor
    place: Tensor | None
    columns: int


class BranchBatch:
    """Rows of similar length that attend together.

    Args:
        pool: Where the states of the prompts lie.
        layers: Layers of the model.
    """

    def __init__(self, pool: KVPool, layers: int, rows: list[BranchRow], device: Any) -> None:
        import torch

        self.rows = rows
        self._device = device
        self._pool = pool
        self._width = max(len(row.tokens) for row in rows)
        ahead = self._width * min(COLUMNS_AHEAD, max(row.limit for row in rows))
        self._columns = max(row.prompt.end for row in rows) + ahead
        self._buffers: list[tuple[Tensor, int] | None] = [None] * layers
        self._states: list[Tensor | None] = [None] * layers
        self._seen = torch.zeros((len(rows), self._width, self._columns), dtype=torch.bool, device=device)
        for index, row in enumerate(rows):
            self._seen[index, :, : row.prompt.end] = True
        self._slots: Tensor | None = None
        self._mask: Tensor | None = None
        self._step: _Step | None = None

    def fork(self, row: int, source: int, branch: int) -> None:
        """Let a branch of a row go on from another one; it was not fed yet."""
        self.rows[row].fork(source, branch)
        self._seen[row, branch] = self._seen[row, source]

    def feed(self, fed: Sequence[Fed]) -> list[int]:
        """Take the tokens of the next pass; gives their positions in their sequences."""
        import torch

        self._make_room(fed)
        positions, write, seen, place = [], [], [], []
        for row, branch, token in fed:
            home = self.rows[row]
            column = home.next_column
            home.next_column += 1
            positions.append(home.prompt.end + len(home.tokens[branch]))
            home.tokens[branch].append(token)
            home.columns[branch].append(column)
            write.append(row * self._columns + column)
            cell = row * self._width + branch
            place.append(cell)
            seen.append(cell * self._columns + column)
        in_order = place == list(range(len(self.rows) * self._width))
        self._seen.view(-1)[torch.tensor(seen, device=self._device)] = True
        self._mask = None
        self._step = _Step(
            torch.tensor(write, device=self._device),
            None if in_order else torch.tensor(place, device=self._device),
            max(row.next_column for row in self.rows),
        )
        return positions

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """Attend from the rows fed last; shapes as in `AttentionPass`."""
        import torch

        step = self._step
        assert step is not None
        states = self._layer(layer, key)
        states.view(-1, *states.shape[2:]).index_copy_(0, step.write, torch.stack((key, value), dim=1))
        heads, width = query.shape[1:]
        batch, shared = len(self.rows), key.shape[1]
        repeats = heads // shared
        if step.place is not None:
            query = query.new_zeros((batch * self._width, heads, width)).index_copy_(0, step.place, query)
        grouped = query.view(batch, self._width, shared, repeats, width).permute(0, 2, 3, 1, 4)
        grouped = grouped.reshape(batch, shared, repeats * self._width, width)
        keys, values = (states[:, : step.columns, k].transpose(1, 2) for k in (0, 1))
        found = torch.nn.functional.scaled_dot_product_attention(
            grouped, keys, values, attn_mask=self._additive(repeats, step.columns, query), scale=scaling
        )
        found = found.view(batch, shared, repeats, self._width, -1).permute(0, 3, 1, 2, 4)
        found = found.reshape(batch * self._width, heads, -1)
        return found if step.place is None else found.index_select(0, step.place)

    def fed_states(self, layer: int, places: Tensor) -> Tensor:
        """States (tokens, 2, heads, width) at flat places (see `place_of`)."""
        states = self._states[layer]
        assert states is not None
        return states.view(-1, *states.shape[2:]).index_select(0, places)

    def place_of(self, row: int, column: int) -> int:
        """The flat place of a column of a row."""
        return row * self._columns + column

    def keep(self, rows: list[int]) -> None:
        """Leave all other rows out from now on; `rows` are in order."""
        import torch

        self.rows = [self.rows[row] for row in rows]
        moved = [(to, row) for to, row in enumerate(rows) if to != row]
        with torch.inference_mode():
            for layer, states in enumerate(self._states):
                if states is not None:
                    for to, row in moved:
                        states[to] = states[row]
                    self._states[layer] = states[: len(rows)]
        self._seen = self._seen.index_select(0, torch.tensor(rows, device=self._device))

    def release(self) -> None:
        """Give the memory back; nothing is fed any more."""
        buffers, self._buffers = self._buffers, [None] * len(self._buffers)
        self._states = [None] * len(self._states)
        for held in buffers:
            if held is not None:
                self._pool.buffers.give_back(*held)

    def _make_room(self, fed: Sequence[Fed]) -> None:
        import torch

        need = [row.next_column for row in self.rows]
        for row, _, _ in fed:
            need[row] += 1
        if (missing := max(need) - self._columns) <= 0:
            return
        more = max(missing, self._width * COLUMNS_AHEAD)
        self._columns += more
        self._seen = torch.nn.functional.pad(self._seen, (0, more))
        for layer, states in enumerate(self._states):
            old = self._buffers[layer]
            if states is not None and old is not None:
                self._room_for(layer, states, states.shape[1])[:, : states.shape[1]] = states
                self._pool.buffers.give_back(*old)

    def _layer(self, layer: int, key: Tensor) -> Tensor:
        """The states of a layer (rows, columns, 2, heads, width), gathered from the pool on first use."""
        import torch

        states = self._states[layer]
        if states is None:
            store = self._pool.layer(layer, key)
            if self._slots is None:
                self._slots = torch.from_numpy(self._prompt_slots()).to(self._device)
            held, size = len(self._slots) // len(self.rows), len(self._slots) * store[0].numel()
            states = self._room_for(layer, store, held)
            with self._pool.buffers.lent(size, store) as memory:
                prompts = memory[:size].view(len(self._slots), *store.shape[1:])
                torch.index_select(store, 0, self._slots, out=prompts)
                states[:, :held] = prompts.view(len(self.rows), held, *store.shape[1:])
        return states

    def _room_for(self, layer: int, like: Tensor, held: int) -> Tensor:
        """Memory for the states of a layer, zeros after the first `held` columns, which the caller writes.

        Args:
            like: A tensor whose last three dimensions are (2, heads, width).
        """
        shape = (len(self.rows), self._columns, *like.shape[-3:])
        count = math.prod(shape)
        buffer, zeros = self._pool.buffers.take(count, like)
        states = buffer[:count].view(shape)
        if not zeros:
            states[:, held:] = 0
        self._buffers[layer], self._states[layer] = (buffer, count), states
        return states

    def _prompt_slots(self) -> NDArray[np.int64]:
        """The slots of the prompts' columns, flat. Shorter prompts repeat a slot of theirs: no state may be NaN."""
        slots = np.empty((len(self.rows), max(row.prompt.end for row in self.rows)), np.int64)
        for row, home in enumerate(self.rows):
            path = home.prompt.path_slots()
            slots[row, : len(path)] = path
            slots[row, len(path) :] = path[0]
        return slots.reshape(-1)

    def _additive(self, repeats: int, columns: int, query: Tensor) -> Tensor:
        """The mask of this pass (rows, 1, repeats * width, columns); made by the first layer, used by all."""
        if self._mask is None or self._mask.shape[2] != repeats * self._width:
            seen = self._seen[:, None, :, :columns]
            mask = query.new_zeros(seen.shape).masked_fill_(~seen, float("-inf"))
            self._mask = mask.repeat(1, 1, repeats, 1)
        return self._mask
