"""The memory of the prefix cache: one slot for each token, in every layer."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from agentrm_models.trie.state_memory import Buffers, lazy_zeros
from agentrm_models.trie.token_trie import Slots

if TYPE_CHECKING:
    from torch import Tensor

FIRST_SLOTS = 2_048
RESERVED_SLOTS = 8_192
"""Slots for which a CPU's address space is reserved at once: unused ones take no memory, and growing copies nothing."""
LARGEST_DEFAULT = 2 << 30
"""Bytes of the cache at most, where nobody sets a limit."""


KEPT_TOKENS = 40_000
"""Tokens that are kept where nobody sets a limit and no more are in use: later ones take the place of the oldest."""
KEPT_PER_USED = 4
"""Or so many times the most that were ever in use at once, if that is more."""


class CacheFullError(MemoryError):
    """What is in use at once exceeds the limit."""


class KVPool:
    """Keys and values of cached tokens; grows by doubling up to a limit in bytes.

    Each layer is a tensor (slots, 2, key/value heads, head width): all that a token has in a layer lies together, so
    that gathering a history copies whole rows.

    Args:
        layers: Layers of the model.
        limit_bytes: Largest size; 0 takes a quarter of the memory that is free, 2 GiB at most, and keeps no more
            tokens in it than `KEPT_TOKENS` or `KEPT_PER_USED` say, so that a long run does not grow.

    Attributes:
        used: Slots in use.
        buffers: Memory for states that are gathered for a while.
    """

    def __init__(self, layers: int, limit_bytes: int, device: Any) -> None:
        self._stores: list[Tensor | None] = [None] * layers
        self._limit = limit_bytes or default_limit(device)
        self._kept = 0 if limit_bytes else KEPT_TOKENS
        self._free = np.empty(0, np.int64)
        self._returned: list[Slots] = []
        self._slots = 0
        self._token_bytes = 0
        self._reserved = RESERVED_SLOTS if device.type == "cpu" else 0
        self.used = 0
        self.buffers = Buffers()

    @property
    def room(self) -> int:
        """Tokens that still fit under the limit."""
        if not self._token_bytes:
            return max(self._limit // (1 << 16), FIRST_SLOTS) - self.used
        return self._limit // self._token_bytes - self.used

    @property
    def room_to_keep(self) -> int:
        """Tokens that may come without another one going."""
        return min(self.room, self._kept - self.used) if self._kept else self.room

    def keep_more(self, used: int) -> None:
        """So many tokens are in use at once, none of which can go: keep more from now on."""
        if self._kept:
            self._kept = max(self._kept, KEPT_PER_USED * used)

    def take(self, count: int) -> Slots:
        """Slots for so many tokens; grows the stores where needed, beyond the limit too (the caller heeds `room`)."""
        if count > len(self._free) and self._returned:
            self._free = np.concatenate([*reversed(self._returned), self._free])
            self._returned.clear()
        if count > len(self._free):
            self._grow(self._slots + count - len(self._free))
        taken, self._free = self._free[:count], self._free[count:]
        self.used += count
        return taken

    def give_back(self, slots: Slots) -> None:
        """Slots whose tokens are forgotten."""
        self._returned.append(slots)
        self.used -= len(slots)
        if not self.used:
            self._free = np.arange(self._slots)
            self._returned.clear()

    def layer(self, index: int, key: Tensor) -> Tensor:
        """The store of a layer (slots or more, 2, heads, width); made on first use for keys (tokens, heads, width)."""
        store = self._stores[index]
        if store is None or store.shape[0] < self._slots:
            row = (2, *key.shape[1:])
            row_bytes = math.prod(row) * key.element_size()
            reserved = min(self._reserved, self._limit // (row_bytes * len(self._stores)))
            try:
                fresh = lazy_zeros((max(self._slots, reserved), *row), key)
            except MemoryError:
                self._reserved = 0
                fresh = lazy_zeros((self._slots, *row), key)
            if store is None:
                self._token_bytes += row_bytes
            else:
                fresh[: store.shape[0]] = store
            self._stores[index] = store = fresh
        return store

    def write(self, index: int, slots: Tensor | slice, states: Tensor) -> None:
        """Store states (tokens, 2, heads, width) of a layer."""
        store = self.layer(index, states[:, 0])
        if isinstance(slots, slice):
            store[slots] = states
        else:
            store.index_copy_(0, slots, states)

    def _grow(self, least: int) -> None:
        slots = max(FIRST_SLOTS, self._slots)
        while slots < least:
            slots *= 2
        if self._token_bytes:
            slots = max(least, min(slots, self._limit // self._token_bytes))
        if self._kept:
            slots = max(least, min(slots, self._kept))
        self._free = np.concatenate([self._free, np.arange(self._slots, slots)])
        self._slots = slots


def places(slots: Slots, device: Any) -> Tensor | slice:
    """Slots as torch indexes with them; those that follow each other as a slice, whose rows need not be gathered."""
    import torch

    first, last = int(slots[0]), int(slots[-1])
    if last - first == len(slots) - 1 and bool((slots[1:] - slots[:-1] == 1).all()):
        return slice(first, last + 1)
    return torch.from_numpy(slots).to(device)


def default_limit(device: Any) -> int:
    """A quarter of the free memory of a device in bytes, 2 GiB at most."""
    import torch

    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        try:
            free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):
            free = LARGEST_DEFAULT * 4
    return min(free // 4, LARGEST_DEFAULT)
