"""What it costs to fill memory that was not touched before: in one large tensor, and in many that come and go.

    python benchmarks/fresh_memory.py

80 MB are filled on one thread, each way in a process of its own; the best and the median time are printed. One tensor:
as torch takes it by default, with large pages, as zeros that are not written, and used again. Thirty-two tensors, all
dropped before the next thirty-two come, as in a training step: by default, with large pages, with what was freed kept
by the C library, and with both. The median is far higher where a virtual machine has to fetch pages from its host.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter

FLOATS = 20_000_000
TENSORS = 32
ROUNDS = 8
WAYS = ("one: default", "one: large pages", "one: lazy zeros", "one: used again")
MANY = ("many: default", "many: large pages", "many: kept", "many: kept, large pages")


def main() -> int:
    """Measure every way in a fresh process, or the one that is named."""
    if len(sys.argv) == 1:
        for way in (*WAYS, *MANY):
            setting = {"THP_MEM_ALLOC_ENABLE": "1" if "large pages" in way else "0"}
            subprocess.run([sys.executable, __file__, way], env={**os.environ, **setting}, check=True)
        return 0
    import torch

    way = sys.argv[1]
    torch.set_num_threads(1)
    fill = _many(way) if way in MANY else _one(way)
    times = []
    for _ in range(ROUNDS):
        began = perf_counter()
        fill()
        times.append((perf_counter() - began) * 1e3)
    print(f"{way:24} best {min(times):6.1f} ms, median {statistics.median(times):6.1f} ms", flush=True)
    return 0


def _one(way: str) -> Callable[[], object]:
    import torch

    from agentrm_models.trie.state_memory import lazy_zeros

    kept = torch.ones(FLOATS)
    if way.endswith("used again"):
        return lambda: kept.fill_(1)
    if way.endswith("lazy zeros"):
        return lambda: lazy_zeros((FLOATS,), kept).fill_(1)
    return lambda: torch.ones(FLOATS)


def _many(way: str) -> Callable[[], object]:
    import torch

    from agentrm_models.torch_environment import keep_freed_memory

    if "kept" in way:
        keep_freed_memory()
    return lambda: [torch.ones(FLOATS // TENSORS) for _ in range(TENSORS)]


if __name__ == "__main__":
    sys.exit(main())
