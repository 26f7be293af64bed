"""What it costs to fill memory for the first time: as torch takes it by default, with large pages, and used again.

    python benchmarks/fresh_memory.py

80 MB are filled on one thread, each way in a process of its own, eight times; the best and the median time are printed.
The median is far higher where a virtual machine has to fetch the pages from its host first.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from time import perf_counter

FLOATS = 20_000_000
WAYS = ("default", "large pages", "lazy zeros", "used again")


def main() -> int:
    """Measure every way in a fresh process, or the one that is named."""
    if len(sys.argv) == 1:
        for way in WAYS:
            setting = {"THP_MEM_ALLOC_ENABLE": "1" if way == "large pages" else "0"}
            subprocess.run([sys.executable, __file__, way], env={**os.environ, **setting}, check=True)
        return 0
    import torch

    from agentrm_models.prefix_cache.state_memory import lazy_zeros

    way = sys.argv[1]
    torch.set_num_threads(1)
    kept = torch.ones(FLOATS)
    times = []
    for _ in range(8):
        began = perf_counter()
        if way == "used again":
            kept.fill_(1)
        elif way == "lazy zeros":
            lazy_zeros((FLOATS,), kept).fill_(1)
        else:
            torch.ones(FLOATS)
        times.append((perf_counter() - began) * 1e3)
    print(f"{way:12} best {min(times):6.1f} ms, median {statistics.median(times):6.1f} ms", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
