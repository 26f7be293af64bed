"""Memory for states on a CPU, where a page that is touched for the first time costs more than what is written into it.

Measured for 80 MB with 4 KiB pages: 14 ms to fill half of it as torch hands it out, 3 ms as numpy does, which asks the
system for large pages and gets zeros without writing them; 1.5 ms where it was used before.
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
    """Zeros of a tensor's kind; on a CPU they take memory only where they are written."""
    import torch

    if like.device.type != "cpu":
        return like.new_zeros(tuple(shape))
    size = math.prod(shape) * like.element_size()
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return torch.from_numpy(memory[start : start + size]).view(like.dtype).view(tuple(shape))


class Buffers:
    """Flat tensors that are used again and again; on other devices than a CPU torch itself keeps what was freed."""

    def __init__(self) -> None:
        self._free: list[Tensor] = []

    def take(self, count: int, like: Tensor) -> tuple[Tensor, bool]:
        """A buffer of at least `count` elements, and whether it is all zeros.

        The smallest that fits; where none does, the largest of them makes way for a new one.
        """
        kept = self._free
        fitting = [index for index, buffer in enumerate(kept) if len(buffer) >= count and buffer.dtype == like.dtype]
        if fitting:
            return kept.pop(min(fitting, key=lambda index: len(kept[index]))), False
        if kept:
            kept.pop(max(range(len(kept)), key=lambda index: len(kept[index])))
        return lazy_zeros((int(count * ROOM),), like), True

    @contextmanager
    def lent(self, count: int, like: Tensor) -> Iterator[Tensor]:
        """A buffer for the length of the block."""
        buffer, _ = self.take(count, like)
        yield buffer
        self.give_back(buffer)

    def give_back(self, buffer: Tensor) -> None:
        """A buffer that nobody reads any more."""
        if buffer.device.type == "cpu":
            self._free.append(buffer)
