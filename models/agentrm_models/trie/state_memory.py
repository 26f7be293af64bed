"""Memory for states on a CPU, where a page that is touched for the first time costs more than what is written into it.

To fill 80 MB takes 33 ms as torch hands them out, 6 ms where numpy asked the system for large pages, which are zeros
without being written, and 3 ms where they were used before (`benchmarks/fresh_memory.py`, one thread).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

ALIGNMENT = 64
ROOM = 1.25
"""How much larger than asked a buffer is made: what is not used of it takes no memory."""


def lazy_zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """Zeros of a tensor's kind; on a CPU they take memory only where they are written.

    They are ordinary tensors inside `torch.inference_mode` too, so that they can be written to outside of it.

    Raises:
        MemoryError: There is no address space for them.
    """
    import torch

    if like.device.type != "cpu":
        return like.new_zeros(tuple(shape))
    size = math.prod(shape) * like.element_size()
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    with torch.inference_mode(False):
        return torch.from_numpy(memory[start : start + size]).view(like.dtype).view(tuple(shape))


class Buffers:
    """Flat tensors that are used again and again; on other devices than a CPU torch itself keeps what was freed.

    What is kept is at most what was once lent at the same time, and a little room.
    """

    def __init__(self) -> None:
        self._free: list[Tensor] = []
        self._lent = 0
        self._most_lent = 0

    def take(self, count: int, like: Tensor) -> tuple[Tensor, bool]:
        """A buffer of at least `count` elements, and whether it is all zeros; to be given back with that count.

        The smallest that fits; where none does, the largest of them makes way for a new one.
        """
        self._lent += count * like.element_size()
        self._most_lent = max(self._most_lent, self._lent)
        if like.device.type != "cpu":
            return lazy_zeros((count,), like), True
        kept = self._free
        fitting = [index for index, buffer in enumerate(kept) if len(buffer) >= count and buffer.dtype == like.dtype]
        if fitting:
            return kept.pop(min(fitting, key=lambda index: len(kept[index]))), False
        if kept:
            kept.pop(max(range(len(kept)), key=lambda index: len(kept[index])))
        try:
            return lazy_zeros((int(count * ROOM),), like), True
        except MemoryError:
            self.clear()
            return lazy_zeros((count,), like), True

    @contextmanager
    def lent(self, count: int, like: Tensor) -> Iterator[Tensor]:
        """A buffer for the length of the block; what is in it at first means nothing."""
        if like.device.type != "cpu":
            yield like.new_empty((count,))
            return
        buffer, _ = self.take(count, like)
        try:
            yield buffer
        finally:
            self.give_back(buffer, count)

    def give_back(self, buffer: Tensor, count: int) -> None:
        """A buffer that nobody reads any more, and for how many elements it was asked for."""
        self._lent -= count * buffer.element_size()
        if buffer.device.type == "cpu":
            self._free.append(buffer)
        self._free.sort(key=len)
        while sum(map(_bytes, self._free)) > ROOM * ROOM * self._most_lent:
            self._free.pop(0)

    def clear(self) -> None:
        """Forget what nobody uses."""
        self._free.clear()


def _bytes(buffer: Tensor) -> int:
    return buffer.numel() * buffer.element_size()
