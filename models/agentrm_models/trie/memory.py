"""What to do when memory runs out: halve the batch, down to one sequence, then say so."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

from agentrm_models.errors import MemoryExhaustedError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_smaller_batches(
    run: Callable[[Sequence[Item]], list[list[Result]]],
    items: Sequence[Item],
    split: Callable[[Item], tuple[Item, Item] | None],
    what: str,
) -> list[list[Result]]:
    """Run a batch; where memory does not suffice, run its halves, and the halves of a single item.

    Args:
        run: Gives one list of results for each item.
        split: Cuts one item in two, or None where it cannot be cut; the results of both are joined.

    Raises:
        MemoryExhaustedError: One item that cannot be cut does not fit.
    """
    import torch

    if not items:
        return []
    try:
        return run(items)
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(items) > 1:
        middle = len(items) // 2
        first = in_smaller_batches(run, items[:middle], split, what)
        return first + in_smaller_batches(run, items[middle:], split, what)
    halves = split(items[0])
    if halves is None:
        raise MemoryExhaustedError(
            f"No memory left while {what}, even for one sequence",
            "Take a smaller model, a shorter context or a lower cache limit.",
        )
    left = in_smaller_batches(run, halves[:1], split, what)
    return [left[0] + in_smaller_batches(run, halves[1:], split, what)[0]]


def is_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out (torch's CPU allocator raises a plain RuntimeError)."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
