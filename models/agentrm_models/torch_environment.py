"""What torch and the C library read from the environment, or are told, before torch first asks for memory."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from agentrm_models.errors import MemoryExhaustedError

SETTINGS = {
    # Idle OpenMP threads spin by default: beside another busy process a beam search took 6.5 s instead of 2.3, though
    # alone 1.4 instead of 2.4 (`benchmarks/waiting_threads.py`, two cores).
    "OMP_WAIT_POLICY": "PASSIVE",
    # Large pages for tensors of 2 MiB and more (Linux): to fill 80 MB of fresh memory takes 5 ms instead of 33
    # (`benchmarks/fresh_memory.py`).
    "THP_MEM_ALLOC_ENABLE": "1",
    # Freed memory is kept for the next tensor (`keep_freed_memory`); 0 gives it back to the system.
    "AGENTRM_KEEP_MEMORY": "1",
}
_LARGEST_FROM_THE_HEAP = 32 << 20
"""Bytes; glibc takes no larger threshold."""
_NO_ROOM = ("failed to map", "cannot allocate memory", "out of memory")
"""How the loader of shared libraries says that there is no memory."""
_KEPT = 1 << 30
"""Bytes at the top of the heap that are not given back."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of `mallopt` (man 3 mallopt)."""


def prepare_torch() -> None:
    """Set what nobody has set; to be called before torch is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if os.environ["AGENTRM_KEEP_MEMORY"] == "1":
        keep_freed_memory()


def import_torch() -> None:
    """Import torch and transformers, which takes some hundred megabytes of address space.

    Raises:
        MemoryExhaustedError: There is no room for them.
    """
    try:
        for name in ("torch", "transformers"):
            import_module(name)
    except (ImportError, OSError, MemoryError) as error:
        if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_ROOM):
            cause = f"there is no memory to load PyTorch ({str(error)[:120] or 'out of memory'})"
            raise MemoryExhaustedError(cause, "End other programs, or raise the limit (ulimit -v).") from error
        raise


def keep_freed_memory() -> None:
    """Let glibc keep what tensors of up to 32 MB leave behind, where it would return and fetch it again and again.

    The system clears each page that is fetched: to fill 32 tensors of 2.5 MB that come and go takes 3 ms instead of 31
    (`benchmarks/fresh_memory.py`). Other C libraries and systems stay as they are.
    """
    if sys.platform != "linux":
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_FROM_THE_HEAP)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
