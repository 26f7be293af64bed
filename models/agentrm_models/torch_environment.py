"""What torch reads from the environment when it is loaded or first asks for memory."""

from __future__ import annotations

import os

SETTINGS = {
    # Idle OpenMP threads spin by default: beside any other busy process that made generation ten times slower.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Large pages for tensors of 2 MiB and more (Linux): to fill 80 MB of fresh memory takes 5 ms instead of 33
    # (`benchmarks/fresh_memory.py`).
    "THP_MEM_ALLOC_ENABLE": "1",
}


def prepare_torch() -> None:
    """Set what nobody has set; to be called before torch is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
